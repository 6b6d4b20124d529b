// Work shared between the threads of whatever pool the caller has.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace facealign {

// `schedule(task)` runs a task on some thread, now or later; `threads` is how many there are.
struct Workers {
  int64_t threads = 1;
  std::function<void(std::function<void()>)> schedule;
};

// Calls work(worker, index) once for each index in [0, count), with worker in [0, threads) not in
// use by two calls at once. The calling thread takes part and waits only for indices that someone
// has begun, never for a pool that is busy with something else: a full pool cannot lock up.
inline void parallel_for(const Workers& workers, int64_t count,
                         const std::function<void(int64_t, int64_t)>& work) {
  const int64_t helpers = (workers.threads < count ? workers.threads : count) - 1;
  if (helpers <= 0) {
    for (int64_t index = 0; index < count; ++index) work(0, index);
    return;
  }
  struct Progress {
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable finished;
    int64_t done = 0;
  };
  // Helpers that come late find the indices used up and touch nothing but this.
  const auto progress = std::make_shared<Progress>();
  const auto* function = &work;
  const auto take_part = [progress, function, count](int64_t worker) {
    int64_t mine = 0;
    for (int64_t index; (index = progress->next.fetch_add(1)) < count; ++mine) {
      (*function)(worker, index);
    }
    if (mine == 0) return;
    std::lock_guard<std::mutex> lock(progress->mutex);
    progress->done += mine;
    if (progress->done == count) progress->finished.notify_one();
  };
  for (int64_t worker = 1; worker <= helpers; ++worker) {
    workers.schedule([take_part, worker] { take_part(worker); });
  }
  take_part(0);
  std::unique_lock<std::mutex> lock(progress->mutex);
  progress->finished.wait(lock, [&] { return progress->done == count; });
}

// An Item made of the arguments for each value that `worker` can have in parallel_for.
template <class Item, class... Arguments>
std::vector<Item> for_each_worker(const Workers& workers, const Arguments&... arguments) {
  std::vector<Item> items;
  do {
    items.emplace_back(arguments...);
  } while (int64_t(items.size()) < workers.threads);
  return items;
}

}  // namespace facealign
