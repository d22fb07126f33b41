// What a fully connected network does besides matrix products. Included by spline.cpp for every width of vectors, after
// spline.h.

namespace {
namespace VECTOR_NAME {

// Rows of what a layer gives, in place: with its bias and their own offsets, and rectified where it is a hidden one.
template <class T> VECTOR_TARGET void settle(const Settled<T> &work, int64_t from, int64_t to) {
    using L = Lanes<T>;
    using V = typename L::V;
    for (int64_t row = from; row < to; row++) {
        T *y = work.y + row * work.columns;
        const T *offset = work.offset ? work.offset + row * work.columns : nullptr;
        int64_t j = 0;
        for (; j + L::width <= work.columns; j += L::width) {
            V v = L::load(y + j) + L::load(work.bias + j);
            if (offset) v = v + L::load(offset + j);
            L::store(work.hidden ? L::choose(v < T(0), L::all(0), v) : v, y + j);
        }
        for (; j < work.columns; j++) {
            const T v = y[j] + work.bias[j] + (offset ? offset[j] : T(0));
            y[j] = work.hidden && v < T(0) ? T(0) : v;
        }
    }
}

// g where the unit was above zero, else 0, in place, and the sums of its columns `from` to `to`; without units, the sums.
template <class T> VECTOR_TARGET void rectify(const Rectified<T> &work, int64_t from, int64_t to) {
    using L = Lanes<T>;
    using V = typename L::V;
    constexpr int64_t block = 256;  // rows summed one after another: more would lose digits
    std::fill(work.sums + from, work.sums + to, T(0));
    std::vector<T> some(to - from);
    for (int64_t first = 0; first < work.rows; first += block) {
        std::fill(some.begin(), some.end(), T(0));
        for (int64_t row = first; row < std::min(first + block, work.rows); row++) {
            T *g = work.g + row * work.columns;
            const T *unit = work.units ? work.units + row * work.columns : nullptr;
            int64_t j = from;
            for (; j + L::width <= to; j += L::width) {
                V here = L::load(g + j);
                if (unit) L::store(here = L::choose(L::load(unit + j) <= T(0), L::all(0), here), g + j);
                L::store(L::load(some.data() + j - from) + here, some.data() + j - from);
            }
            for (; j < to; j++) {
                if (unit && unit[j] <= T(0)) g[j] = 0;
                some[j - from] += g[j];
            }
        }
        for (int64_t j = from; j < to; j++) work.sums[j] += some[j - from];
    }
}

}  // namespace VECTOR_NAME
}  // namespace
