// What a convolutional network does besides matrix products. Images are rows of channels, one row a pixel. Included by
// spline.cpp for every width of vectors, after spline.h.
//
// Vectors are stored whole where fewer numbers are meant: what lies beyond is written later, or is room to spare.

namespace {
namespace VECTOR_NAME {

template <class T> INLINE void copy(const T *from, int64_t count, T *to) {
    using L = Lanes<T>;
    for (int64_t j = 0; j < count; j += L::width) L::store(L::load(from + j), to + j);
}
template <class T> INLINE void clear(int64_t count, T *to) {
    using L = Lanes<T>;
    for (int64_t j = 0; j < count; j += L::width) L::store(L::all(0), to + j);
}

// Of every pixel what the window around it holds, tap by tap; zeros outside of the image.
template <class T> VECTOR_TARGET void windows(const Window &w, const T *x, T *to) {
    const int64_t c = w.channels, reach = w.side / 2, line = w.side * c;
    for (int64_t image = 0; image < w.images; image++, x += w.height * w.width * c)
        for (int64_t row = 0; row < w.height; row++)
            for (int64_t column = 0; column < w.width; column++) {
                const int64_t first = std::max<int64_t>(0, reach - column), last = std::min(w.side, w.width + reach - column);
                for (int64_t tap = 0; tap < w.side; tap++, to += line) {
                    const int64_t there = row + tap - reach;
                    if (there < 0 || there >= w.height) {
                        clear(line, to);
                        continue;
                    }
                    clear(first * c, to);
                    copy(x + (there * w.width + column + first - reach) * c, (last - first) * c, to + first * c);
                    if (last < w.side) clear((w.side - last) * c, to + last * c);
                }
            }
}

// The transposed of it: every pixel's sum of what windows say of it; and a bias, or null.
template <class T> VECTOR_TARGET void overlaid(const Window &w, const T *from, const T *bias, T *to) {
    using L = Lanes<T>;
    const int64_t c = w.channels, reach = w.side / 2, line = w.side * c, whole = w.side * line;
    for (int64_t image = 0; image < w.images; image++, from += w.height * w.width * whole)
        for (int64_t row = 0; row < w.height; row++)
            for (int64_t column = 0; column < w.width; column++, to += c) {
                const int64_t first = std::max<int64_t>(0, column + reach + 1 - w.width);
                const int64_t last = std::min(w.side, column + reach + 1);
                for (int64_t j = 0; j < c; j += L::width) {
                    typename L::V sum = bias ? L::load(bias + j) : L::all(0);
                    for (int64_t tap = 0; tap < w.side; tap++) {
                        const int64_t there = row - tap + reach;
                        if (there < 0 || there >= w.height) continue;
                        const T *at = from + (there * w.width + column + reach) * whole + tap * line + j;
                        for (int64_t k = first; k < last; k++) sum = sum + L::load(at - k * (whole - c));
                    }
                    L::store(sum, to + j);
                }
            }
}

// Rows and their bias, in place; and rectified in `units`, or null.
template <class T> VECTOR_TARGET void bend(int64_t rows, int64_t columns, const T *bias, T *y, T *units) {
    using L = Lanes<T>;
    using V = typename L::V;
    for (int64_t row = 0; row < rows; row++, y += columns) {
        T *to = units ? units + row * columns : nullptr;
        int64_t j = 0;
        for (; j + L::width <= columns; j += L::width) {
            const V v = L::load(y + j) + L::load(bias + j);
            L::store(v, y + j);
            if (to) L::store(L::choose(v < T(0), L::all(0), v), to + j);
        }
        for (; j < columns; j++) {
            y[j] += bias[j];
            if (to) to[j] = y[j] < T(0) ? T(0) : y[j];
        }
    }
}

// g where the unit was above zero, else 0, and what passed by the layer (or null), in place; their sums are added up.
template <class T>
VECTOR_TARGET void unbend(int64_t rows, int64_t columns, T *g, const T *units, const T *past, T *sums) {
    using L = Lanes<T>;
    using V = typename L::V;
    std::vector<T> some(columns);
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = row * columns;
        int64_t j = 0;
        for (; j + L::width <= columns; j += L::width) {
            V here = L::load(g + at + j);
            if (units) here = L::choose(L::load(units + at + j) <= T(0), L::all(0), here);
            if (past) here = here + L::load(past + at + j);
            L::store(here, g + at + j);
            L::store(L::load(some.data() + j) + here, some.data() + j);
        }
        for (; j < columns; j++) {
            T here = units && units[at + j] <= T(0) ? T(0) : g[at + j];
            if (past) here += past[at + j];
            g[at + j] = here;
            some[j] += here;
        }
    }
    for (int64_t j = 0; j < columns; j++) sums[j] += some[j];
}

}  // namespace VECTOR_NAME
}  // namespace
