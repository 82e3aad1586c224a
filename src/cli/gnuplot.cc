#include "cli/gnuplot.h"

#include <array>
#include <cstdio>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/command.h"

namespace onebit::cli {
namespace {

/// A file of a name that nobody else has, for as long as it is needed.
class ScratchFile {
 public:
  ScratchFile() {
    const std::filesystem::path folder = std::filesystem::temp_directory_path();
    path_ = (folder / "onebit-XXXXXX").string();
    const int fd = ::mkstemp(path_.data());
    if (fd < 0) {
      throw Error(ErrorCode::kIo, fmt::format("{}: cannot write a file there", folder.string()));
    }
    ::close(fd);
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  ~ScratchFile() { ::unlink(path_.c_str()); }

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

/// The picture's bytes. `terminal` is what `set terminal` takes.
std::string run_gnuplot(const std::string& terminal, const std::string& script) {
  const ScratchFile picture;  // apart from messages, of which some are mere warnings
  const ScratchFile file;
  write_file(file.path(), fmt::format("set terminal {}\nset output {}\n{}", terminal,
                                      gnuplot_quoted(picture.path()), script));
  // The name that mkstemp gives needs no quoting beyond this. -d: what a user's own .gnuplot sets
  // must not show.
  const auto [messages, status] = output_of(fmt::format("gnuplot -d '{}' 2>&1", file.path()));
  if (status != 0) {
    throw Error(ErrorCode::kIo, fmt::format("gnuplot: {}", last_line(messages)));
  }
  return read_file(picture.path());
}

}  // namespace

void require_gnuplot() { output_of("gnuplot --version 2>&1"); }

std::string_view picture_terminal(const std::filesystem::path& out) {
  if (out.extension() == ".svg") return "svg";
  if (out.extension() == ".png") return "pngcairo";
  throw UsageError(fmt::format("{}: expected a name that ends in .svg or .png", out.string()));
}

void draw(const std::string& script, int width, int height, const std::filesystem::path& out) {
  write_file(out, run_gnuplot(fmt::format("{} size {},{} noenhanced background 'white'",
                                          picture_terminal(out), width, height),
                              script));
}

std::string draw_svg(const std::string& script, int width, int height, int font_size) {
  return run_gnuplot(
      fmt::format("svg size {},{} noenhanced font 'sans-serif,{}'", width, height, font_size),
      script);
}

}  // namespace onebit::cli
