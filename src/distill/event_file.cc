#include "distill/event_file.h"

#include <array>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <string_view>

#include "base/error.h"

namespace onebit::distill {
namespace {

static_assert(std::endian::native == std::endian::little);

/// CRC-32C (Castagnoli) by bytes, reflected polynomial 0x82F63B78: no Debian package has it alone.
std::uint32_t crc32c(std::string_view bytes) {
  static const auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1U) * 0x82F63B78U);
      table[i] = value;
    }
    return table;
  }();
  std::uint32_t crc = ~0U;
  for (const char c : bytes)
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFFU];
  return ~crc;
}

template <class Number>
void append_raw(std::string& out, Number value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

void append_masked_crc(std::string& out, std::string_view bytes) {
  append_raw(out, std::rotr(crc32c(bytes), 15) + 0xA282EAD8U);
}

// ---- protobuf: a field is its number and wire type, then the value ----

enum Wire : std::uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void append_key(std::string& out, std::uint32_t field, Wire wire) {
  append_varint(out, field << 3 | wire);
}

void append_bytes(std::string& out, std::uint32_t field, std::string_view bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string event_of(double wall_time, std::int64_t step) {
  std::string event;
  append_key(event, 1, kFixed64);
  append_raw(event, wall_time);
  if (step != 0) {  // protobuf leaves a zero out
    append_key(event, 2, kVarint);
    append_varint(event, static_cast<std::uint64_t>(step));
  }
  return event;
}

}  // namespace

EventFile::EventFile(std::filesystem::path path, double wall_time)
    : path_(std::move(path)), out_(path_, std::ios::binary | std::ios::trunc) {
  std::string event = event_of(wall_time, 0);
  append_bytes(event, 3, "brain.Event:2");
  write_record(event);
}

void EventFile::add(double wall_time, std::int64_t step,
                    const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    std::string value;
    append_bytes(value, 1, tag);
    append_key(value, 2, kFixed32);
    append_raw(value, static_cast<float>(number));
    append_bytes(summary, 1, value);
  }
  std::string event = event_of(wall_time, step);
  append_bytes(event, 5, summary);
  write_record(event);
}

void EventFile::write_record(const std::string& event) {
  std::string record;
  append_raw(record, static_cast<std::uint64_t>(event.size()));
  append_masked_crc(record, std::string_view(record).substr(0, 8));
  record += event;
  append_masked_crc(record, event);
  out_ << record << std::flush;
  if (!out_) {
    throw Error(ErrorCode::kIo,
                fmt::format("{}: cannot write the file; is the disk full?", path_.string()));
  }
}

}  // namespace onebit::distill
