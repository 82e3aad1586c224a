// Reads a protobuf message's fields: as much of the wire format as SentencePiece models use.
//
//   message = field*   field = varint (number * 8 + wire type)  value
//   value   = varint (0) | 8 bytes (1) | varint length, bytes (2) | 4 bytes (5)
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace onebit::text {

struct ProtoField {
  std::uint64_t number = 0;
  std::uint64_t value = 0;  ///< of a varint; 0 otherwise
  std::string_view bytes;   ///< of a length-delimited or fixed-size field; empty otherwise
};

/// Takes a varint off the front of `message`; nothing when there is none of at most 64 bits.
inline std::optional<std::uint64_t> take_varint(std::string_view& message) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < message.size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>(message[i]);
    value |= std::uint64_t{byte & 0x7Fu} << (7 * i);
    if (byte < 0x80) {
      message.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

/// Calls visit(const ProtoField&) for each field; false when the message breaks off or holds
/// another wire type (groups, which protobuf gave up).
template <typename Visit>
bool for_each_field(std::string_view message, const Visit& visit) {
  while (!message.empty()) {
    const auto tag = take_varint(message);
    // protobuf drops what lies beyond 32 bits, and would find another field than this reader.
    if (!tag || *tag > std::numeric_limits<std::uint32_t>::max()) return false;
    ProtoField field;
    field.number = *tag >> 3;
    const std::uint64_t wire_type = *tag & 7;
    if (wire_type == 0) {
      const auto value = take_varint(message);
      if (!value) return false;
      field.value = *value;
    } else {
      std::optional<std::uint64_t> size;
      if (wire_type == 1) size = 8;
      if (wire_type == 2) size = take_varint(message);
      if (wire_type == 5) size = 4;
      if (!size || *size > message.size()) return false;
      field.bytes = message.substr(0, static_cast<std::size_t>(*size));
      message.remove_prefix(static_cast<std::size_t>(*size));
    }
    visit(field);
  }
  return true;
}

}  // namespace onebit::text
