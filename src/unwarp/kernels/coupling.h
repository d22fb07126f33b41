// A coupling layer around its network: what the network sees of the kept features, the moved ones in their columns, and
// the gradients of both. Included by spline.cpp for every width of vectors, after spline.h and affine.h.

namespace {
namespace VECTOR_NAME {

// Columns of rows, packed one after another, and back to where they were.
template <class T> INLINE void pack(const T *rows, int64_t features, const int64_t *columns, int64_t count, int64_t n, T *to) {
    for (int64_t row = 0; row < n; row++, rows += features, to += count)
        for (int64_t i = 0; i < count; i++) to[i] = rows[columns ? columns[i] : i];
}
template <class T> INLINE void unpack(const T *from, int64_t features, const int64_t *columns, int64_t count, int64_t n, T *rows) {
    for (int64_t row = 0; row < n; row++, rows += features, from += count)
        for (int64_t i = 0; i < count; i++) rows[columns[i]] = from[i];
}

// The columns `index` of x squashed, and the cube root of the squash's slope; rows of `stride` numbers.
template <class T> VECTOR_TARGET void look(const Look<T> &work, int64_t from, int64_t to) {
    using L = Lanes<T>;
    using V = typename L::V;
    const int64_t columns = work.columns, block = std::max<int64_t>(1, 512 / columns);
    std::vector<T> both(2 * block * columns);
    T *seen = both.data(), *rate = seen + block * columns;
    for (; from < to; from += block) {
        const int64_t n = std::min(block, to - from), all = n * columns;
        pack(work.x + from * work.features, work.features, work.index, columns, n, seen);
        for (int64_t i = 0; i < all; i += L::width) {
            const int count = int(std::min<int64_t>(L::width, all - i));
            V v = L::clamp(L::load_some(seen + i, count), -FARTHEST, FARTHEST);
            V r = T(1) / L::root(T(1) + v * v * T(1 / (REACH * REACH)));
            L::store_some(v * r, seen + i, count);
            L::store_some(r, rate + i, count);
        }
        for (int64_t row = 0; row < n; row++) {
            memcpy(work.seen + (from + row) * work.stride, seen + row * columns, columns * sizeof(T));
            memcpy(work.rate + (from + row) * work.stride, rate + row * columns, columns * sizeof(T));
        }
    }
}

template <class T> VECTOR_TARGET void coupling_part(const CouplingWork<T> &work, int64_t from, int64_t to) {
    const Box &box = work.map.box;
    const int64_t moved = work.moved, features = work.features, each = box.bins ? 3 * box.bins - 1 : 2;
    const int64_t block = std::max<int64_t>(1, 512 / moved);
    std::vector<T> buffers(3 * block * moved);
    T *v = buffers.data(), *first = v + block * moved, *second = first + block * moved;
    for (; from < to; from += block) {
        const int64_t n = std::min(block, to - from);
        const T *x = work.x + from * features, *params = work.params + from * moved * each, *grad_z = nullptr;
        T *z = work.z + from * features, *other = second;
        pack(x, features, work.columns, moved, n, v);
        if (work.grad_z) {
            grad_z = work.grad_z + from * features;
            pack(grad_z, features, work.columns, moved, n, first);
            for (int64_t row = 0; row < n; row++) std::fill_n(second + row * moved, moved, work.grad_ladj[from + row]);
            other = work.grad_params + from * moved * each;
        }
        const T *to_z = grad_z ? first : nullptr;
        if (box.bins) part<T>(Work<T>{box, v, params, to_z, second, first, other}, 0, n * moved);
        else affine_part<T>({box.inverse, work.map.limit, v, params, to_z, second, first, other}, 0, n * moved);
        const T *before = grad_z ? grad_z : x;
        if (z != before) memcpy(z, before, n * features * sizeof(T));
        unpack(first, features, work.columns, moved, n, z);
        for (int64_t row = 0; row < n && !grad_z; row++) {
            T sum = 0;
            for (int64_t i = 0; i < moved; i++) sum += second[row * moved + i];
            work.ladj[from + row] += sum;
        }
    }
}

}  // namespace VECTOR_NAME
}  // namespace
