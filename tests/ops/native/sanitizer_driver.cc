// Runs the CPU kernels over random geometries with ordinary, whole, huge, infinite and NaN offsets,
// on buffers of exactly the right size, for a compiler's sanitizers to watch:
//
//   g++ -std=c++17 -O0 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -pthread \
//       -I keras_facealign/ops/native tests/ops/native/sanitizer_driver.cc -o /tmp/driver
//   /tmp/driver 300
//
// Vector instructions are added as for the library (-mavx2 -mfma -mf16c and so on). Prints how many
// cases ran and a checksum; a sanitizer's complaint ends the program with an error.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "cpu_kernels.h"

namespace facealign {
namespace {

std::mt19937 generator(1);

int64_t pick(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(generator);
}

template <class T>
std::vector<T> normal(int64_t count) {
  std::normal_distribution<double> distribution;
  std::vector<T> values(count);
  for (T& value : values) write(Compute<T>(distribution(generator)), &value);
  return values;
}

// Mostly a few pixels, now and then something that no image reaches.
template <class Real>
std::vector<Real> wild_offsets(int64_t count) {
  const Real infinity = std::numeric_limits<Real>::infinity();
  const Real wild[] = {std::numeric_limits<Real>::quiet_NaN(), infinity,       -infinity,
                       std::numeric_limits<Real>::max(),       Real(-0x1p63),  Real(0x1p63),
                       std::numeric_limits<Real>::lowest(),    Real(0x1p31),   Real(-0x1p31),
                       std::numeric_limits<Real>::denorm_min(), Real(0x1p24), Real(-1)};
  auto values = normal<Real>(count);
  for (Real& value : values) {
    const int64_t kind = pick(0, 9);
    value *= 3;
    if (kind == 0) value = wild[pick(0, 11)];
    if (kind == 1) value = std::floor(value);
  }
  return values;
}

// Large: several tiles of pixels and of columns, and many filters.
template <class T>
double run_case(const Workers& workers, bool large) {
  using Real = Compute<T>;
  Geometry g{};
  const int64_t groups = large ? 1 : pick(1, 3);
  g.deformable_groups = pick(1, 3);
  g.batch = pick(0, 3);
  g.channels = groups * g.deformable_groups * pick(1, 40);
  g.height = pick(1, 9), g.width = pick(1, 9);
  g.out_height = pick(0, 12), g.out_width = pick(1, 12);
  g.kernel_height = pick(1, 4), g.kernel_width = pick(1, 3);
  g.stride_y = pick(1, 3), g.stride_x = pick(1, 3);
  g.pad_top = pick(0, 4), g.pad_left = pick(0, 4);
  g.dilation_y = pick(1, 3), g.dilation_x = pick(1, 3);
  g.border = pick(0, 1) ? Border::kZeros : Border::kMxnet;
  if (large) {
    g.channels = g.deformable_groups * 64;
    g.out_height = pick(24, 26), g.out_width = pick(24, 26);
    g.kernel_height = g.kernel_width = 3;
  }
  const Filters filters{large ? 128 : groups * pick(1, 40), groups};
  const int64_t points = g.rows() * g.points(), rows = g.rows();
  const bool masked = pick(0, 1) == 1;

  const auto inputs = normal<T>(g.batch * g.image_size());
  const auto offsets = wild_offsets<Real>(2 * points);
  const auto mask = normal<Real>(masked ? points : 0);
  const auto kernel = normal<T>(g.taps() * g.channels / groups * filters.count);
  const auto bias = normal<T>(filters.count);
  const auto d_columns = normal<T>(rows * g.columns()), d_outputs = normal<T>(rows * filters.count);
  std::vector<T> columns(d_columns.size()), outputs(d_outputs.size());
  std::vector<Real> d_inputs(inputs.size()), d_offsets(offsets.size()), d_mask(mask.size());
  std::vector<Real> d_kernel(kernel.size());
  const Sources<T> sources{inputs.data(), offsets.data(), masked ? mask.data() : nullptr};
  const Gradients<Real> gradients{d_inputs.data(), d_offsets.data(),
                                  masked ? d_mask.data() : nullptr};

  double checksum = 0;
  const auto add = [&checksum](const auto& values) {
    for (const auto& value : values) checksum += double(read(value));
  };
  sample(g, sources, columns.data(), workers);
  add(columns);
  sample_gradient(g, sources, d_columns.data(), gradients, workers);
  add(d_inputs), add(d_offsets), add(d_mask);
  convolve(g, filters, sources, kernel.data(), pick(0, 1) ? bias.data() : nullptr, outputs.data(),
           workers);
  add(outputs);
  convolve_gradient(g, filters, sources, kernel.data(), d_outputs.data(), gradients,
                    d_kernel.data(), workers);
  add(d_inputs), add(d_offsets), add(d_mask), add(d_kernel);
  return checksum;
}

}  // namespace
}  // namespace facealign

int main(int count, char** arguments) {
  using namespace facealign;
  const int cases = count > 1 ? std::atoi(arguments[1]) : 100;
  std::vector<std::thread> threads;
  double checksum = 0;
  for (int i = 0; i < cases; ++i) {
    const Workers workers{
        pick(1, 5), [&threads](std::function<void()> task) { threads.emplace_back(task); }};
    const bool large = i % 20 >= 18;
    switch (large ? 2 * (i % 2) : i % 4) {
      case 0: checksum += run_case<float>(workers, large); break;
      case 1: checksum += run_case<double>(workers, large); break;
      case 2: checksum += run_case<Half>(workers, large); break;
      default: checksum += run_case<BFloat16>(workers, large);
    }
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }
  std::printf("%d cases, checksum %.6g\n", cases, checksum);
  return std::isfinite(checksum) ? 0 : 1;
}
