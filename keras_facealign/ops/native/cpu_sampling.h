// Sampling and its gradient on the CPU, vector by vector along the channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu_points.h"

namespace facealign {

// What the kernels read. Positions are in the type of the arithmetic: float, or double for double.
template <class T>
struct Sources {
  const T* inputs;
  const Compute<T>* offsets;
  const Compute<T>* mask;  // null: all ones
};

// What the gradient adds to; d_mask is null where there is no mask.
template <class Real>
struct Gradients {
  Real* inputs;
  Real* offsets;
  Real* mask;
};

// A run of channels of one tap, all displaced alike, and the column where it begins.
struct Segment {
  int64_t tap, deformable_group, channel, count, column;
};

// Cuts columns [begin, end) of the list "tap by tap, channels [channel, channel + count)" into
// segments, with columns counted from `begin`.
inline std::vector<Segment> cut_segments(const Geometry& geometry, int64_t channel, int64_t count,
                                         int64_t begin, int64_t end) {
  std::vector<Segment> segments;
  for (int64_t column = begin; column < end;) {
    const int64_t tap = column / count, first = channel + column % count;
    const int64_t group = first / geometry.group_channels();
    const int64_t last = std::min(channel + count, (group + 1) * geometry.group_channels());
    const int64_t length = std::min(last - first, end - column);
    segments.push_back({tap, group, first, length, column - begin});
    column += length;
  }
  return segments;
}

// to[c] = sum of weights[i] * rows[i][c] over Count rows.
template <int Count, class T, class To>
inline void blend(const T* const* rows, const Compute<T>* weights, int64_t channels, To* to) {
  using Real = Compute<T>;
  int64_t c = 0;
  for (; c + kLanes<Real> <= channels; c += kLanes<Real>) {
    Vector<Real> sum{};
#pragma GCC unroll 4
    for (int i = 0; i < Count; ++i) sum += weights[i] * load(rows[i] + c);
    store(sum, to + c);
  }
  for (; c < channels; ++c) {
    Real sum = 0;
    for (int i = 0; i < Count; ++i) sum += weights[i] * read(rows[i][c]);
    write(sum, to + c);
  }
}

// The values of `count` channels from `channel` on at point `index`, times `scale`. Inlined by
// force, as its gradient is: compilers give up where the library holds many types, and a call for
// every sample slows down the whole convolution.
template <class T, class To>
[[gnu::always_inline]] inline void sample_channels(
    const T* image, const PointTable<Compute<T>>& points, int64_t index, Compute<T> scale,
    int64_t channel, int64_t count, To* to) {
  using Real = Compute<T>;
  const T* rows[4];
  Real weights[4];
  if (points.kind()[index] == PointTable<Real>::kAll) {
    for (int corner = 0; corner < 4; ++corner) {
      rows[corner] = image + (points.begin(corner)[index] + channel);
      weights[corner] = points.weight(corner, index) * scale;
    }
    return blend<4>(rows, weights, count, to);
  }
  int used = 0;
  for (int corner = 0; corner < 4; ++corner) {
    const Real weight = points.weight(corner, index);
    if (weight == 0) continue;
    rows[used] = image + (points.begin(corner)[index] + channel);
    weights[used++] = weight * scale;
  }
  switch (used) {
    case 4: return blend<4>(rows, weights, count, to);
    case 3: return blend<3>(rows, weights, count, to);
    case 2: return blend<2>(rows, weights, count, to);
    case 1: return blend<1>(rows, weights, count, to);
    default: return blend<0>(rows, weights, count, to);
  }
}

// The part of one corner in spread_channels: returns the products of `upstream` and `row`, lane by
// lane; a corner without weight receives nothing and adds nothing to `to`.
template <bool Recompute, class T>
inline Vector<Compute<T>> spread_corner(const T* row, Compute<T>* d_row, Compute<T> weight,
                                        int64_t count, const Compute<T>* upstream,
                                        Compute<T>* to) {
  using Real = Compute<T>;
  constexpr int lanes = kLanes<Real>;
  Vector<Real> dot{};
  int64_t c = 0;
  for (; c + lanes <= count; c += lanes) {
    const Vector<Real> value = load(row + c), gradient = load(upstream + c);
    dot += value * gradient;
    if (weight == 0) continue;
    store(load(d_row + c) + weight * gradient, d_row + c);
    if (Recompute) store(load(to + c) + weight * value, to + c);
  }
  for (; c < count; ++c) {
    const Real value = read(row[c]);
    dot[0] += value * upstream[c];
    if (weight == 0) continue;
    d_row[c] += weight * upstream[c];
    if (Recompute) to[c] += weight * value;
  }
  return dot;
}

// The gradient of sample_channels: `upstream` flows to d_image, and its products with the corners'
// values are returned in dots, one for each corner. Where Recompute, `to` gets the values sampled.
template <bool Recompute, class T>
[[gnu::always_inline]] inline void spread_channels(
    const T* image, Compute<T>* d_image, const PointTable<Compute<T>>& points, int64_t index,
    Compute<T> scale, int64_t channel, int64_t count, const Compute<T>* upstream, Compute<T>* to,
    Compute<T> dots[4]) {
  using Real = Compute<T>;
  constexpr int lanes = kLanes<Real>;
  image += channel;
  d_image += channel;
  int64_t begin[4];
  Real weights[4];
  Vector<Real> sums[4];
  const bool all = points.kind()[index] == PointTable<Real>::kAll && scale != 0;
  for (int i = 0; i < 4; ++i) {
    begin[i] = points.begin(i)[index];
    weights[i] = points.weight(i, index) * scale;
    sums[i] = Vector<Real>{};
  }
  int64_t c = 0;
  if (all) {  // four different pixels: one pass over the channels serves them all
    // Plain locals stay in registers, which elements of arrays need not.
    const int64_t begin0 = begin[0], begin1 = begin[1], begin2 = begin[2], begin3 = begin[3];
    const Vector<Real> none{};
    const Vector<Real> weight0 = none + weights[0], weight1 = none + weights[1];
    const Vector<Real> weight2 = none + weights[2], weight3 = none + weights[3];
    Vector<Real> dot0{}, dot1{}, dot2{}, dot3{};
    const T* row = image;
    Real* d_row = d_image;
    for (; c + lanes <= count; c += lanes, row += lanes, d_row += lanes) {
      const Vector<Real> gradient = load(upstream + c);
      const Vector<Real> pixel0 = load(row + begin0), pixel1 = load(row + begin1);
      const Vector<Real> pixel2 = load(row + begin2), pixel3 = load(row + begin3);
      dot0 += gradient * pixel0;
      dot1 += gradient * pixel1;
      dot2 += gradient * pixel2;
      dot3 += gradient * pixel3;
      if (Recompute) {
        store(weight0 * pixel0 + weight1 * pixel1 + weight2 * pixel2 + weight3 * pixel3, to + c);
      }
      const Vector<Real> sum0 = load(d_row + begin0) + weight0 * gradient;
      const Vector<Real> sum1 = load(d_row + begin1) + weight1 * gradient;
      const Vector<Real> sum2 = load(d_row + begin2) + weight2 * gradient;
      const Vector<Real> sum3 = load(d_row + begin3) + weight3 * gradient;
      store(sum0, d_row + begin0);
      store(sum1, d_row + begin1);
      store(sum2, d_row + begin2);
      store(sum3, d_row + begin3);
    }
    sums[0] = dot0, sums[1] = dot1, sums[2] = dot2, sums[3] = dot3;
  }
  if (c < count) {
    if (Recompute) std::fill(to + c, to + count, Real(0));
    for (int i = 0; i < 4; ++i) {
      // A mask of zero has a slope where it has no weight, and a corner at distance 1 has no weight
      // and one has no slope either; outside the image none has anything.
      if (points.weight(i, index) == 0 && points.slope_along_y(i, index) == 0 &&
          points.slope_along_x(i, index) == 0) {
        continue;
      }
      sums[i] += spread_corner<Recompute>(image + begin[i] + c, d_image + begin[i] + c, weights[i],
                                          count - c, upstream + c, Recompute ? to + c : nullptr);
    }
  }
  sum_each<Real>(sums, dots);
}

// Samples the segments of output pixels [first, first + count), whose points are `points`, into
// rows of `to`.
template <class T, class To>
inline void sample_segments(const Geometry& geometry, const Sources<T>& sources,
                            const std::vector<Segment>& segments, int64_t first, int64_t count,
                            const PointTable<Compute<T>>& points, To* to, int64_t pitch) {
  using Real = Compute<T>;
  const Real* mask = sources.mask ? sources.mask + first * geometry.points() : nullptr;
  for (int64_t i = 0; i < count; ++i, to += pitch) {
    const T* image =
        sources.inputs + (first + i) / geometry.out_pixels() * geometry.image_size();
    const int64_t row = i * geometry.points();
    for (const Segment& segment : segments) {
      const int64_t index = row + segment.deformable_group * geometry.taps() + segment.tap;
      To* target = to + segment.column;
      if (points.kind()[index] != PointTable<Real>::kOutside) {
        sample_channels(image, points, index, mask ? mask[index] : Real(1), segment.channel,
                        segment.count, target);
      } else {
        std::fill(target, target + segment.count, To{});
      }
    }
  }
}

// The gradient of sample_segments, added to `gradients`. Where Recompute, `values` gets the
// sampled values in the layout of `upstream`.
template <bool Recompute, class T>
inline void spread_segments(const Geometry& geometry, const Sources<T>& sources,
                            const std::vector<Segment>& segments, int64_t first, int64_t count,
                            const PointTable<Compute<T>>& points, const Compute<T>* upstream,
                            int64_t pitch, Compute<T>* values,
                            const Gradients<Compute<T>>& gradients) {
  using Real = Compute<T>;
  for (int64_t i = 0; i < count; ++i, upstream += pitch) {
    const int64_t image = (first + i) / geometry.out_pixels() * geometry.image_size();
    for (const Segment& segment : segments) {
      const int64_t point = segment.deformable_group * geometry.taps() + segment.tap;
      const int64_t index = i * geometry.points() + point;
      const int64_t at = first * geometry.points() + index;
      Real* target = Recompute ? values + i * pitch + segment.column : nullptr;
      if (points.kind()[index] == PointTable<Real>::kOutside) {
        if (Recompute) std::fill(target, target + segment.count, Real(0));
        continue;
      }
      const Real scale = sources.mask ? sources.mask[at] : Real(1);
      Real dots[4];
      spread_channels<Recompute>(sources.inputs + image, gradients.inputs + image, points, index,
                                 scale, segment.channel, segment.count, upstream + segment.column,
                                 target, dots);
      Real along_y = 0, along_x = 0, along_scale = 0;
      for (int corner = 0; corner < 4; ++corner) {
        along_y += points.slope_along_y(corner, index) * dots[corner];
        along_x += points.slope_along_x(corner, index) * dots[corner];
        if (gradients.mask) along_scale += points.weight(corner, index) * dots[corner];
      }
      gradients.offsets[2 * at] += scale * along_y;
      gradients.offsets[2 * at + 1] += scale * along_x;
      if (gradients.mask) gradients.mask[at] += along_scale;
    }
  }
}

}  // namespace facealign
