#include "eval/task.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

constexpr std::string_view kAll = "all";

const TaskSet& table() {
  static const TaskSet kTable = [] {
    TaskSet all;
    const auto take = [&](TaskSet set) {
      std::move(set.tasks.begin(), set.tasks.end(), std::back_inserter(all.tasks));
      std::move(set.groups.begin(), set.groups.end(), std::back_inserter(all.groups));
    };
#define ONEBIT_TASK(name) take(make_##name());
#include "eval/task_list.inc"
#undef ONEBIT_TASK
    return all;
  }();
  return kTable;
}

template <class Named>
const Named* find(std::span<const Named> all, std::string_view name) {
  const auto it =
      std::find_if(all.begin(), all.end(), [&](const Named& one) { return one.name == name; });
  return it == all.end() ? nullptr : &*it;
}

}  // namespace

bool Task::has(Metric metric) const {
  return std::find(metrics.begin(), metrics.end(), metric) != metrics.end();
}

std::span<const Task> all_tasks() { return table().tasks; }

std::span<const Group> all_groups() { return table().groups; }

const Task* find_task(std::string_view name) { return find(all_tasks(), name); }

const Group* find_group(std::string_view name) { return find(all_groups(), name); }

std::vector<std::string_view> task_names() {
  std::vector<std::string_view> names = {kAll};
  for (const Group& group : all_groups()) names.emplace_back(group.name);
  for (const Task& task : all_tasks()) names.emplace_back(task.name);
  return names;
}

bool Selection::add(std::string_view name) {
  if (name == kAll) {
    for (const Task& task : all_tasks()) add(task.name);
    for (const Group& group : all_groups()) add(group.name);
    return true;
  }
  if (const Task* task = find_task(name)) {
    if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) tasks.push_back(task);
    return true;
  }
  const Group* group = find_group(name);
  if (group == nullptr) return false;
  for (const std::string& member : group->members) ONEBIT_CHECK(add(member));
  if (group->mean && std::find(groups.begin(), groups.end(), group) == groups.end()) {
    // Pointers into one array: their order is all_groups()'s.
    groups.insert(std::upper_bound(groups.begin(), groups.end(), group), group);
  }
  return true;
}

}  // namespace onebit::eval
