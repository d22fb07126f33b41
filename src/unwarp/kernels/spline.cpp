// The monotone rational-quadratic spline of K bins on [-B, B], with its logarithm of the slope, its inverse, and the
// gradients of both: what functional/_spline.py computes in some fifty passes over memory, in one. Outside it is the
// identity; the periodic spline has no outside, and one slope at both ends, the first of its K raw slopes.
//
// A plain C interface without headers of Python or torch. Several points are computed at once, one in each lane of a
// vector; the vectors are as wide as the processor's, found out when the program runs. Operations follow the reference
// one by one, and the compiler may not contract them (-ffp-contract=off), so that points on knots fall into its bins.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr int LARGEST_BINS = 256;
constexpr double LARGEST_RAW = 20;  // of widths and heights, as in the reference
constexpr double REACH = 3, FARTHEST = 1e9;  // of what a network sees, as in functional.squash
constexpr int64_t POINTS_A_THREAD = 8192;  // fewer are done before a second thread has begun

template <class T> struct Format;
template <> struct Format<float> {
    static constexpr int mantissa = 23, bias = 127, exp_terms = 7, log_terms = 5, log1p_terms = 8;
    static constexpr float shift = 0x1.8p23f, ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
    static constexpr float lowest_exp = -87.0f, tiny = 0x1p-126f;
};
template <> struct Format<double> {
    static constexpr int mantissa = 52, bias = 1023, exp_terms = 13, log_terms = 11, log1p_terms = 17;
    static constexpr double shift = 0x1.8p52, ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    static constexpr double lowest_exp = -708.0, tiny = 0x1p-1022;
};

struct Box {
    int bins;
    bool inverse, periodic;
    double bound, min_bin, min_slope;
    double slope_shift;  // softplus of it is 1 - min_slope
};

struct ScalarMap {
    Box box;       // of the spline; no bins where the map is affine,
    double limit;  // whose log scale has this bound
};

template <class T> struct AffineWork {
    bool inverse;
    double limit;
    const T *v, *params, *grad_out, *grad_ladj;  // as of Work
    T *out, *second;
};

template <class T> struct TailWork {
    bool inverse;
    const T *v, *params, *grad_out, *grad_ladj;  // as of Work
    T *out, *second;
};

template <class T> struct Sequence {
    int layers;                // hidden ones, at least one
    int64_t steps;             // features become known in so many
    const int64_t *widths;     // inputs, hidden layers, outputs
    const int64_t *ends;       // of each hidden layer, how many units are known after 0, 1, ... steps
    const int64_t *firsts;     // the first feature of each step, and the number of features
    const T *const *weights, *const *biases;
    const T *offset;           // added to the first hidden layer, row by row; or null
    ScalarMap map;
    const T *z;
    T *x, *ladj;
};

template <class T> struct CouplingWork {
    ScalarMap map;
    int64_t features, moved;
    const int64_t *columns;                      // of the moved features
    const T *x, *params, *grad_z, *grad_ladj;    // without grad_z: values, else gradients
    T *z, *ladj, *grad_params;                   // z holds the gradient to x, where gradients are asked for
};

template <class T> struct Look {
    int64_t features, columns, stride;
    const int64_t *index;  // or null for all columns in order
    const T *x;
    T *seen, *rate;
};

template <class T> struct Settled {
    int64_t columns;
    bool hidden;
    const T *bias, *offset;  // of columns; of rows and columns, or null
    T *y;
};

template <class T> struct Rectified {
    int64_t rows, columns;
    T *g;
    const T *units;  // or null
    T *sums;
};

// A stretch of the parameters, and what a step of AdamW does to it.
template <class T> struct Piece {
    int64_t count;
    const T *grad;  // or null for zeros
    T *weight, *first, *second, *mean;
    T decay;
};

template <class T> struct Adam {
    T divisor, to_first, keep_second, to_second, size, root, floor;
};

struct Window {
    int64_t images, height, width, channels, side;
};

template <class T> struct Work {
    Box box;
    const T *v, *params, *grad_out, *grad_ladj;  // without grad_out: values, else gradients
    T *out, *second;                             // out and ladj, or the gradients to v and params
};

}  // namespace

#define VECTOR_NAME plain
#define VECTOR_TARGET
#define VECTOR_BYTES 16
#include "spline.h"
#include "affine.h"
#include "tails.h"
#include "network.h"
#include "coupling.h"
#include "convolution.h"
#include "adam.h"
#include "sequence.h"

#if defined(__x86_64__)
#define VECTOR_NAME avx2
#define VECTOR_TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#include "spline.h"
#include "affine.h"
#include "tails.h"
#include "network.h"
#include "coupling.h"
#include "convolution.h"
#include "adam.h"
#include "sequence.h"

#define VECTOR_NAME avx512
#define VECTOR_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))
#define VECTOR_BYTES 64
#include "spline.h"
#include "affine.h"
#include "tails.h"
#include "network.h"
#include "coupling.h"
#include "convolution.h"
#include "adam.h"
#include "sequence.h"
#endif

namespace {

// 2 for AVX-512, 1 for AVX2, 0 for what every processor has.
int level() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

#if defined(__x86_64__)
#define WIDEST(F) (level() == 2 ? avx512::F : level() == 1 ? avx2::F : plain::F)
#else
#define WIDEST(F) plain::F
#endif

// part(from, to) for all points, by as many threads as have `least` points each.
template <class F> void share(int64_t points, int64_t least, int threads, F part) {
    int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, points / least));
    int64_t each = ((points + parts - 1) / parts + 63) / 64 * 64;
    auto some_of_it = [&](int64_t i) { part(std::min(points, i * each), std::min(points, (i + 1) * each)); };
    std::vector<std::thread> others;
    int64_t i = 1;
    try {
        for (; i < parts; i++) others.emplace_back(some_of_it, i);
    } catch (...) {  // the system has no more threads
    }
    for (; i < parts; i++) some_of_it(i);
    some_of_it(0);
    for (auto &other : others) other.join();
}

template <class T> void run(const Work<T> &work, int64_t points, int threads) {
    auto part = WIDEST(part<T>);
    share(points, POINTS_A_THREAD, threads, [&](int64_t from, int64_t to) { part(work, from, to); });
}

template <class T> void run(const AffineWork<T> &work, int64_t points, int threads) {
    auto part = WIDEST(affine_part<T>);
    share(points, POINTS_A_THREAD, threads, [&](int64_t from, int64_t to) { part(work, from, to); });
}

template <class T> void run(const TailWork<T> &work, int64_t points, int threads) {
    auto part = WIDEST(tail_part<T>);
    share(points, POINTS_A_THREAD, threads, [&](int64_t from, int64_t to) { part(work, from, to); });
}

template <class T> void run(const CouplingWork<T> &work, int64_t rows, int threads) {
    auto part = WIDEST(coupling_part<T>);
    share(rows, POINTS_A_THREAD / work.moved + 1, threads, [&](int64_t from, int64_t to) { part(work, from, to); });
}

template <class T> void run(const Look<T> &work, int64_t rows, int threads) {
    auto part = WIDEST(look<T>);
    share(rows, POINTS_A_THREAD / work.columns + 1, threads, [&](int64_t from, int64_t to) { part(work, from, to); });
}

template <class T> void run(const Settled<T> &work, int64_t rows, int threads) {
    auto part = WIDEST(settle<T>);
    share(rows, 8 * POINTS_A_THREAD / work.columns + 1, threads, [&](int64_t from, int64_t to) { part(work, from, to); });
}

template <class T> void run(const Rectified<T> &work, int threads) {
    auto part = WIDEST(rectify<T>);
    const int64_t least = std::max<int64_t>(64, 8 * POINTS_A_THREAD / (work.rows + 1));
    share(work.columns, least, threads, [&](int64_t from, int64_t to) { part(work, from, to); });
}

template <class T> void run(const Sequence<T> &all, int64_t points, int threads) {
    auto part = WIDEST(rows<T>);
    share(points, 64, threads, [&](int64_t from, int64_t to) { part(all, from, to); });
}

}  // namespace

#include "passes.h"

#include "images.h"

#include "folded.h"

#include "descent.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int unwarp_interface() { return 13; }  // another number where the arguments below change
EXPORT int unwarp_largest_bins() { return LARGEST_BINS; }

#define ENTRIES(NAME, T)                                                                                             \
    EXPORT void unwarp_spline_##NAME(int64_t points, int bins, int inverse, int periodic, double bound,              \
                                     double min_bin, double min_slope, double slope_shift, int threads, const T *v,  \
                                     const T *params, T *out, T *ladj) {                                             \
        Box box{bins, inverse != 0, periodic != 0, bound, min_bin, min_slope, slope_shift};                          \
        run<T>(Work<T>{box, v, params, nullptr, nullptr, out, ladj}, points, threads);                                      \
    }                                                                                                                \
    EXPORT void unwarp_spline_gradient_##NAME(int64_t points, int bins, int inverse, int periodic, double bound,     \
                                              double min_bin, double min_slope, double slope_shift, int threads,     \
                                              const T *v, const T *params, const T *grad_out, const T *grad_ladj,    \
                                              T *grad_v, T *grad_params) {                                           \
        Box box{bins, inverse != 0, periodic != 0, bound, min_bin, min_slope, slope_shift};                          \
        run<T>(Work<T>{box, v, params, grad_out, grad_ladj, grad_v, grad_params}, points, threads);                         \
    }
#define AFFINES(NAME, T)                                                                                              \
    EXPORT void unwarp_affine_##NAME(int64_t points, int inverse, double limit, int threads, const T *v,              \
                                     const T *params, T *out, T *ladj) {                                              \
        run<T>(AffineWork<T>{inverse != 0, limit, v, params, nullptr, nullptr, out, ladj}, points, threads);          \
    }                                                                                                                 \
    EXPORT void unwarp_affine_gradient_##NAME(int64_t points, int inverse, double limit, int threads, const T *v,     \
                                              const T *params, const T *grad_out, const T *grad_ladj, T *grad_v,      \
                                              T *grad_params) {                                                       \
        AffineWork<T> work{inverse != 0, limit, v, params, grad_out, grad_ladj, grad_v, grad_params};                 \
        run<T>(work, points, threads);                                                                                \
    }
#define TAILS(NAME, T)                                                                                                \
    EXPORT void unwarp_tail_##NAME(int64_t points, int inverse, int threads, const T *v, const T *params, T *out,     \
                                   T *ladj) {                                                                         \
        run<T>(TailWork<T>{inverse != 0, v, params, nullptr, nullptr, out, ladj}, points, threads);                   \
    }                                                                                                                 \
    EXPORT void unwarp_tail_gradient_##NAME(int64_t points, int inverse, int threads, const T *v, const T *params,    \
                                            const T *grad_out, const T *grad_ladj, T *grad_v, T *grad_params) {       \
        run<T>(TailWork<T>{inverse != 0, v, params, grad_out, grad_ladj, grad_v, grad_params}, points, threads);      \
    }
#define PASSES(NAME, T)                                                                                               \
    EXPORT void unwarp_network_##NAME(const int64_t *words, const double *numbers) {                                  \
        network_forth<T>({words, numbers});                                                                           \
    }                                                                                                                 \
    EXPORT void unwarp_network_gradient_##NAME(const int64_t *words, const double *numbers) {                         \
        network_back<T>({words, numbers});                                                                            \
    }                                                                                                                 \
    EXPORT void unwarp_couplings_##NAME(const int64_t *words, const double *numbers) {                                 \
        couplings_forth<T>({words, numbers});                                                                          \
    }                                                                                                                 \
    EXPORT void unwarp_couplings_gradient_##NAME(const int64_t *words, const double *numbers) {                        \
        couplings_back<T>({words, numbers});                                                                           \
    }
#define IMAGES(NAME, T)                                                                                               \
    EXPORT void unwarp_image_coupling_##NAME(const int64_t *words, const double *numbers) {                           \
        image_coupling_forth<T>({words, numbers});                                                                    \
    }                                                                                                                 \
    EXPORT void unwarp_image_coupling_gradient_##NAME(const int64_t *words, const double *numbers) {                  \
        image_coupling_back<T>({words, numbers});                                                                     \
    }                                                                                                                 \
    EXPORT void unwarp_folded_##NAME(const int64_t *words, const double *numbers) {                                   \
        folded_forth<T>({words, numbers});                                                                            \
    }                                                                                                                 \
    EXPORT void unwarp_folded_gradient_##NAME(const int64_t *words, const double *numbers) {                          \
        folded_back<T>({words, numbers});                                                                             \
    }
#define DESCENTS(NAME, T)                                                                                             \
    EXPORT void unwarp_descent_##NAME(const int64_t *words, const double *numbers) { descend<T>({words, numbers}); }
#define SEQUENCES(NAME, T)                                                                                            \
    EXPORT void unwarp_sequence_##NAME(int64_t rows, int layers, int64_t steps, const int64_t *widths,                \
                                       const int64_t *ends, const int64_t *firsts, const T *const *weights,           \
                                       const T *const *biases, const T *offset, int bins, double bound,               \
                                       double min_bin, double min_slope, double slope_shift, double limit,            \
                                       int threads, const T *z, T *x, T *ladj) {                                      \
        ScalarMap map{{bins, true, false, bound, min_bin, min_slope, slope_shift}, limit};                            \
        run<T>(Sequence<T>{layers, steps, widths, ends, firsts, weights, biases, offset, map, z, x, ladj}, rows, threads);       \
    }
ENTRIES(float32, float)
ENTRIES(float64, double)
AFFINES(float32, float)
AFFINES(float64, double)
TAILS(float32, float)
TAILS(float64, double)
PASSES(float32, float)
PASSES(float64, double)
IMAGES(float32, float)
IMAGES(float64, double)
DESCENTS(float32, float)
DESCENTS(float64, double)
SEQUENCES(float32, float)
SEQUENCES(float64, double)
