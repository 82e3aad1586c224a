// SHA-256, for provenance (which source model a packed file was made from). OpenSSL does the work.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace onebit {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);

  /// Lower-case hexadecimal digest; call once.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace onebit
