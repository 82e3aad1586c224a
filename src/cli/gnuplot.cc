#include "cli/gnuplot.h"

#include <array>
#include <cstdio>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"

namespace onebit::cli {
namespace {

/// A file with the script, for as long as it is needed.
class ScriptFile {
 public:
  explicit ScriptFile(const std::string& text) {
    const std::filesystem::path folder = std::filesystem::temp_directory_path();
    path_ = (folder / "onebit-XXXXXX").string();
    const int fd = ::mkstemp(path_.data());
    if (fd < 0) {
      throw Error(ErrorCode::kIo, fmt::format("{}: cannot write a file there", folder.string()));
    }
    ::close(fd);
    write_file(path_, text);
  }
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  ~ScriptFile() { ::unlink(path_.c_str()); }

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Where gnuplot says what is wrong, after an extract of the script.
std::string_view last_line(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  return text.substr(text.rfind('\n') + 1);  // npos + 1 is 0
}

constexpr int kNoSuchCommand = 127;  // of the shell

/// What a shell's command prints, and its status as waitpid() gives it.
std::pair<std::string, int> output_of(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw Error(ErrorCode::kResource, "gnuplot: cannot start a process");
  std::string text;
  std::array<char, 1 << 16> part;
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe)) {
    text.append(part.data(), got);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNoSuchCommand) {
    throw Error(ErrorCode::kNotFound,
                "gnuplot: found no such program, expected it installed (Debian: gnuplot-nox)");
  }
  return {std::move(text), status};
}

}  // namespace

void require_gnuplot() { output_of("gnuplot --version 2>&1"); }

std::string_view picture_terminal(const std::filesystem::path& out) {
  if (out.extension() == ".svg") return "svg";
  if (out.extension() == ".png") return "pngcairo";
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{}: expected a name that ends in .svg or .png", out.string()));
}

std::string gnuplot_quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += '\'';
    result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return result + "'";
}

void draw(const std::string& script, int width, int height, const std::filesystem::path& out) {
  const ScriptFile file(fmt::format("set terminal {} size {},{} noenhanced background 'white'\n{}",
                                    picture_terminal(out), width, height, script));
  // The name that mkstemp gives needs no quoting beyond this.
  const auto [picture, status] = output_of(fmt::format("gnuplot '{}' 2>&1", file.path()));
  if (status != 0) {
    throw Error(ErrorCode::kIo, fmt::format("gnuplot: {}", last_line(picture)));
  }
  write_file(out, picture);
}

}  // namespace onebit::cli
