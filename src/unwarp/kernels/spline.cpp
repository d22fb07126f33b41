// The monotone rational-quadratic spline of K bins on [-B, B], with its logarithm of the slope, its inverse, and the
// gradients of both: what functional/_spline.py computes in some fifty passes over memory, in one. Outside it is the
// identity; the periodic spline has no outside, and one slope at both ends, the first of its K raw slopes.
//
// A plain C interface without headers of Python or torch. Several points are computed at once, one in each lane of a
// vector; the vectors are as wide as the processor's, found out when the program runs. Operations follow the reference
// one by one, and the compiler may not contract them (-ffp-contract=off), so that points on knots fall into its bins.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int LARGEST_BINS = 256;
constexpr double LARGEST_RAW = 20;  // of widths and heights, as in the reference
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

#if defined(__x86_64__)
#define VECTOR_NAME avx2
#define VECTOR_TARGET __attribute__((target("avx2")))
#define VECTOR_BYTES 32
#include "spline.h"

#define VECTOR_NAME avx512
#define VECTOR_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))
#define VECTOR_BYTES 64
#include "spline.h"
#endif

namespace {

template <class T> using Part = void (*)(const Work<T> &, int64_t, int64_t);

template <class T> Part<T> widest() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) return avx512::part<T>;
    if (__builtin_cpu_supports("avx2")) return avx2::part<T>;
#endif
    return plain::part<T>;
}

template <class T> void run(const Work<T> &work, int64_t points, int threads) {
    Part<T> part = widest<T>();
    int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, points / POINTS_A_THREAD));
    int64_t each = ((points + parts - 1) / parts + 15) / 16 * 16;
    auto some_of_it = [&](int64_t i) { part(work, std::min(points, i * each), std::min(points, (i + 1) * each)); };
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

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int unwarp_interface() { return 2; }  // another number where the arguments below change
EXPORT int unwarp_largest_bins() { return LARGEST_BINS; }

#define ENTRIES(NAME, T)                                                                                             \
    EXPORT void unwarp_spline_##NAME(int64_t points, int bins, int inverse, int periodic, double bound,              \
                                     double min_bin, double min_slope, double slope_shift, int threads, const T *v,  \
                                     const T *params, T *out, T *ladj) {                                             \
        Box box{bins, inverse != 0, periodic != 0, bound, min_bin, min_slope, slope_shift};                          \
        run<T>({box, v, params, nullptr, nullptr, out, ladj}, points, threads);                                      \
    }                                                                                                                \
    EXPORT void unwarp_spline_gradient_##NAME(int64_t points, int bins, int inverse, int periodic, double bound,     \
                                              double min_bin, double min_slope, double slope_shift, int threads,     \
                                              const T *v, const T *params, const T *grad_out, const T *grad_ladj,    \
                                              T *grad_v, T *grad_params) {                                           \
        Box box{bins, inverse != 0, periodic != 0, bound, min_bin, min_slope, slope_shift};                          \
        run<T>({box, v, params, grad_out, grad_ladj, grad_v, grad_params}, points, threads);                         \
    }
ENTRIES(float32, float)
ENTRIES(float64, double)
