// Memory that the kernels work in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>

namespace facealign {

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Memory at a cache line's start: zeroed, because blocks read beyond what was written, or as it is.
enum class Fill { kZeros, kNothing };

template <class Real>
class Scratch {
 public:
  explicit Scratch(int64_t count, Fill fill = Fill::kZeros)
      : data_(static_cast<Real*>(::operator new(size_t(count) * sizeof(Real), kAlignment))) {
    if (fill == Fill::kZeros) std::fill(data_, data_ + count, Real{});
  }
  Scratch(Scratch&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { ::operator delete(data_, kAlignment); }
  Real* get() const { return data_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  Real* data_;
};

}  // namespace facealign
