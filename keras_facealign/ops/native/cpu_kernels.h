// The CPU kernels: sampled columns with their gradient, and the fused convolution with its gradient.
#pragma once

#include "cpu_columns.h"
#include "cpu_convolution.h"
