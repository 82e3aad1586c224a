# The growth axes: every src/<layer>/<x>_list.inc holds lines ONEBIT_<X>(name), and every line has
# its file. A line without a file, or a file without a line, stops the configure step.

# onebit_read_list(<out> <list.inc> <MACRO>): the names listed under MACRO.
function(onebit_read_list out list macro)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
  file(STRINGS ${list} lines REGEX "^${macro}\\(")
  set(names)
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^${macro}\\(([a-z0-9_]+).*" "\\1" name "${line}")
    list(APPEND names ${name})
  endforeach()
  set(${out} ${names} PARENT_SCOPE)
endfunction()

# onebit_check_list(<list.inc> <MACROS> <prefix of the files>): lines and files must match; several
# macros (a list) share one kind of file.
function(onebit_check_list list macros prefix)
  set(expected)
  foreach(macro IN LISTS macros)
    onebit_read_list(names ${list} ${macro})
    foreach(name IN LISTS names)
      if(NOT EXISTS ${prefix}${name}.cc)
        message(FATAL_ERROR "${list} lists ${macro}(${name}), but ${prefix}${name}.cc is missing")
      endif()
      list(APPEND expected ${prefix}${name}.cc)
    endforeach()
  endforeach()
  get_filename_component(stem ${prefix} NAME)
  if(stem)
    file(GLOB files CONFIGURE_DEPENDS ${prefix}*.cc)
    list(FILTER files EXCLUDE REGEX "_(test|bench|fuzz)\\.cc$")
    foreach(file IN LISTS files)
      if(NOT file IN_LIST expected)
        message(FATAL_ERROR "${file} exists, but ${list} has no line for it (${macros})")
      endif()
    endforeach()
  endif()
endfunction()
