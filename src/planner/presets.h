// SPDX-License-Identifier: Apache-2.0
/* Inside presets: rows of kernel and collective fits, and the tables. */
#pragma once

#include "planner/planner.h"

enum planner_op { PLANNER_OP_GEMM, PLANNER_OP_MOE };

/* What the arithmetic units are fed with. WO: weights only, arithmetic in bf16. */
enum planner_math {
    PLANNER_MATH_BF16,
    PLANNER_MATH_FP8,
    PLANNER_MATH_FP8_BLOCK,
    PLANNER_MATH_INT8,
    PLANNER_MATH_FP4,
    PLANNER_MATH_WO8,
    PLANNER_MATH_WO4,
    PLANNER_MATH_MXFP4,
    PLANNER_MATH_MXFP4_FP8,
    PLANNER_MATH_GGUF,
    PLANNER_MATH_MAX_,
};

struct planner_op_fit {
    enum planner_op op;
    const char *chip;
    enum planner_engine engine;
    enum planner_math math;
    unsigned points;
    double t0_us, ec, em, p;
    double median_error;
};

enum planner_collective {
    PLANNER_COMM_ALL_REDUCE,
    PLANNER_COMM_ALL_GATHER,
    PLANNER_COMM_REDUCE_SCATTER,
    PLANNER_COMM_ALL_TO_ALL,
};

struct planner_comm_fit {
    const char *chip;
    enum planner_collective collective;
    bool quick; /* the engine's own one-shot kernel; else NCCL */
    unsigned ranks;
    double alpha_us, bus_gbps;
};

extern const struct planner_op_fit planner_op_fits[];     /* ends with a NULL chip */
extern const struct planner_comm_fit planner_comm_fits[]; /* the same */
