// How gradients are divided between threads, walked through and added up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "cpu_parallel.h"
#include "cpu_sampling.h"
#include "cpu_tiles.h"

namespace facealign {

// How a gradient is split so that no two threads add to one number, and the order of all sums
// depends on the number of threads alone: the images go round between `images` parts, and each of
// those is divided by channels into `slices`.
struct Split {
  int64_t images, slices;

  Split(int64_t batch, int64_t channels, int64_t threads) {
    constexpr int64_t least = 16;  // channels worth a part of their own
    images = std::gcd(batch, std::max<int64_t>(threads, 1));
    if (images == 0) images = 1;
    slices = std::min(threads / images, channels / least);
    if (slices < 1) slices = 1;
  }
};

// Clears channels [channel, channel + count) of an image's gradient.
template <class Real>
void clear_channels(const Geometry& geometry, int64_t image, int64_t channel, int64_t count,
                    Real* d_inputs) {
  Real* pixel = d_inputs + image * geometry.image_size() + channel;
  for (int64_t i = 0; i < geometry.height * geometry.width; ++i, pixel += geometry.channels) {
    std::fill(pixel, pixel + count, Real(0));
  }
}

// Gradients by offsets and mask are sums over channels. Each slice of channels sums in a copy of
// its own; the first one is the result itself, to which the others are added in order.
template <class Real>
class PointGradients {
 public:
  PointGradients(const Geometry& geometry, const Gradients<Real>& result, int64_t slices)
      : result_(result), points_(geometry.rows() * geometry.points()) {
    std::fill(result.offsets, result.offsets + 2 * points_, Real(0));
    if (result.mask) std::fill(result.mask, result.mask + points_, Real(0));
    for (int64_t slice = 1; slice < slices; ++slice) copies_.emplace_back(3 * points_);
  }

  Gradients<Real> of_slice(int64_t slice) const {
    if (slice == 0) return result_;
    Real* copy = copies_[slice - 1].get();
    return {result_.inputs, copy, result_.mask ? copy + 2 * points_ : nullptr};
  }

  void add_up() const {
    for (const auto& copy : copies_) {
      for (int64_t i = 0; i < 2 * points_; ++i) result_.offsets[i] += copy.get()[i];
      for (int64_t i = 0; result_.mask && i < points_; ++i) {
        result_.mask[i] += copy.get()[2 * points_ + i];
      }
    }
  }

 private:
  Gradients<Real> result_;
  int64_t points_;
  std::vector<Scratch<Real>> copies_;
};

// Output pixels [first, first + count) of one image, as for_each_run hands them out.
struct Run {
  int64_t worker, slice, share, first, count;
  bool begins_share;  // whether no pixel of the share came before
};

// Calls work(run, points, p) for runs of up to `rows` output pixels, located in `points`, and for
// each parts[p] of a slice; each slice of each share of the images is walked in order, by one
// thread. Before an image's first run, the gradient of its inputs is cleared.
template <class Real, class Work>
void for_each_run(const Geometry& geometry, const Split& split, const std::vector<Part>& parts,
                  int64_t rows, const Real* offsets, Real* d_inputs, const Workers& workers,
                  const Work& work) {
  const auto tables = for_each_worker<PointTable<Real>>(workers, geometry, rows);
  parallel_for(workers, split.images * split.slices, [&](int64_t worker, int64_t index) {
    const int64_t slice = index / split.images, share = index % split.images;
    const auto& points = tables[worker];
    const int64_t pixels = geometry.out_pixels();
    for (int64_t image = share; image < geometry.batch; image += split.images) {
      for (const Part& part : parts) {
        if (part.slice != slice) continue;
        clear_channels(geometry, image, part.channel, part.channels, d_inputs);
      }
      for (int64_t pixel = 0; pixel < pixels; pixel += rows) {
        const Run run{worker, slice, share, image * pixels + pixel, std::min(rows, pixels - pixel),
                      image == share && pixel == 0};
        locate_points(geometry, offsets, run.first, run.count, points);
        for (size_t p = 0; p < parts.size(); ++p) {
          if (parts[p].slice == slice) work(run, points, p);
        }
      }
    }
  });
}

}  // namespace facealign
