// TensorBoard's event file: scalars by step, for those who watch runs there.
//
//   file   = record*                     (TFRecord, little endian)
//   record = u64 length, u32 crc(length), the event's bytes, u32 crc(event)
//   crc(b) = rotate_right(CRC-32C(b), 15) + 0xA282EAD8
//   event  = protobuf: 1 wall_time double, 2 step int64, and either 3 file_version string (the
//   first
//            record, "brain.Event:2") or 5 summary { 1 value { 1 tag string, 2 simple_value float }
//            * }
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace onebit::distill {

class EventFile {
 public:
  /// Begins the file anew, its first record being of the time `wall_time` (seconds since 1970).
  /// Throws Error{kIo}.
  EventFile(std::filesystem::path path, double wall_time);

  /// Appends one event with these tags and values. Throws Error{kIo} (disk full).
  void add(double wall_time, std::int64_t step,
           const std::vector<std::pair<std::string, double>>& scalars);

 private:
  void write_record(const std::string& event);

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace onebit::distill
