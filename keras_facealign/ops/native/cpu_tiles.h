// How the fused convolution is cut up: into parts of the channels, and those into tiles of columns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "cpu_matrix.h"
#include "cpu_parallel.h"
#include "cpu_sampling.h"

namespace facealign {

struct Filters {
  int64_t count, groups;

  int64_t in_group() const { return count / groups; }
};

// The part of a convolution that reads `channels` channels from `channel` on, all of one group and
// few enough that the pixels around a point stay in the cache: its own list of columns, cut into
// tiles, and where its factors begin in packed memory.
struct Part {
  struct Tile {
    int64_t begin, columns;  // of the part's own list
    std::vector<Segment> segments;
  };
  int64_t slice, group, channel, channels;
  bool begins_group, ends_group;  // among the parts of its slice
  int64_t packed = 0;
  std::vector<Tile> tiles;

  int64_t columns(const Geometry& geometry) const { return geometry.taps() * channels; }
};

inline std::vector<Part> cut_parts(const Geometry& geometry, const Filters& filters,
                                   int64_t slices) {
  std::vector<Part> parts;
  const int64_t in_group = geometry.channels / filters.groups;
  for (int64_t slice = 0; slice < slices; ++slice) {
    const int64_t begin = in_group * slice / slices, end = in_group * (slice + 1) / slices;
    for (int64_t group = 0; group < filters.groups; ++group) {
      int64_t slab = begin;
      do {  // once also where there is no channel: outputs are zero then
        const int64_t slab_end = std::min<int64_t>(slab + kSlabChannels, end);
        Part part;
        part.slice = slice;
        part.group = group;
        part.channel = group * in_group + slab;
        part.channels = slab_end - slab;
        part.begins_group = slab == begin;
        part.ends_group = slab_end == end;
        const int64_t columns = part.columns(geometry);
        for (int64_t first = 0; first < columns; first += kTileColumns) {
          const int64_t count = std::min<int64_t>(kTileColumns, columns - first);
          part.tiles.push_back({first, count,
                                cut_segments(geometry, part.channel, part.channels, first,
                                             first + count)});
        }
        parts.push_back(std::move(part));
        slab = slab_end;
      } while (slab < end);
    }
  }
  return parts;
}

// Row of the kernel that belongs to a column of the part.
template <class T>
inline T* kernel_row(const Geometry& geometry, const Filters& filters, const Part& part,
                     int64_t column, T* kernel) {
  const int64_t in_group = geometry.channels / filters.groups;
  const int64_t tap = column / part.channels;
  const int64_t channel = part.channel - part.group * in_group + column % part.channels;
  return kernel + (tap * in_group + channel) * filters.count + part.group * filters.in_group();
}

// Writes the kernel's rows for columns [begin, begin + columns) of the part as panels of the
// group's filters, filled up with zeros.
template <class T, class Real>
inline void pack_kernel(const Geometry& geometry, const Filters& filters, const Part& part,
                        int64_t begin, int64_t columns, const T* kernel, Real* to) {
  constexpr int64_t panel = kPanel<Real>;
  const int64_t count = filters.in_group();
  for (int64_t first = 0; first < count; first += panel) {
    const int64_t filled = std::min(panel, count - first);
    for (int64_t k = 0; k < columns; ++k, to += panel) {
      const T* row = kernel_row(geometry, filters, part, begin + k, kernel) + first;
      for (int64_t n = 0; n < filled; ++n) to[n] = read(row[n]);
      for (int64_t n = filled; n < panel; ++n) to[n] = Real(0);
    }
  }
}

// The transpose of that, for at most a panel of columns; what is left of the panel stays as it is.
template <class T, class Real>
inline void pack_transposed_panel(const Geometry& geometry, const Filters& filters,
                                  const Part& part, int64_t begin, int64_t columns, const T* kernel,
                                  Real* to) {
  for (int64_t n = 0; n < columns; ++n) {
    const T* row = kernel_row(geometry, filters, part, begin + n, kernel);
    for (int64_t k = 0; k < filters.in_group(); ++k) to[k * kPanel<Real> + n] = read(row[k]);
  }
}

// Calls work(part, tile, index of the tile in its part) for all tiles, on all threads.
template <class Work>
void for_each_tile(const std::vector<Part>& parts, const Workers& workers, const Work& work) {
  std::vector<std::pair<const Part*, int64_t>> tiles;
  for (const Part& part : parts) {
    for (size_t t = 0; t < part.tiles.size(); ++t) tiles.emplace_back(&part, int64_t(t));
  }
  parallel_for(workers, int64_t(tiles.size()), [&](int64_t, int64_t index) {
    const auto [part, t] = tiles[index];
    work(*part, part->tiles[t], t);
  });
}

}  // namespace facealign
