// The most int8 multiply-adds that the cores do: vpdpbusd on registers, nothing else.
#pragma once

namespace onebit::bench {

/// Operations a second of so many threads, a multiply-add being two; 0 where the CPU has none.
double int8_peak(int threads);

}  // namespace onebit::bench
