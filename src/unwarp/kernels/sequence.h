// The inverse of an autoregressive layer whose network is masked and fully connected: features one after another, each
// hidden unit once, as soon as what it sees is known. Points are side by side in the lanes of some vectors, so that a
// weight is read once for all of them. Included by spline.cpp for every width of vectors, after spline.h and affine.h.

namespace {
namespace VECTOR_NAME {

constexpr int SIDE = VECTOR_BYTES == 64 ? 4 : 2;  // vectors side by side
constexpr int ROWS = VECTOR_BYTES == 64 ? 6 : 4;  // units at once: what registers hold

template <class L> INLINE typename L::V multiply_add(typename L::V a, typename L::V b, typename L::V c) {
#if VECTOR_BYTES == 64
    if constexpr (sizeof(typename L::T) == 4) return (typename L::V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    else return (typename L::V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif VECTOR_BYTES == 32
    if constexpr (sizeof(typename L::T) == 4) return (typename L::V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    else return (typename L::V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return a * b + c;
#endif
}

// COUNT rows of the matrix w times the columns in h, added to what is in y.
template <class L, int COUNT>
INLINE void add_rows(const typename L::T *w, int64_t stride, int64_t inputs, const typename L::V *h, typename L::V *y) {
    using V = typename L::V;
    V sum[COUNT][SIDE];
    memcpy(sum, y, sizeof sum);
    for (int64_t k = 0; k < inputs; k++)
        for (int j = 0; j < COUNT; j++)
            for (int v = 0; v < SIDE; v++) sum[j][v] = multiply_add<L>(V{} + w[j * stride + k], h[k * SIDE + v], sum[j][v]);
    memcpy(y, sum, sizeof sum);
}

// Rows `from` to `to` of a layer, from the inputs known so far; y holds one entry for each row.
template <class L>
INLINE void add_product(const typename L::T *w, int64_t stride, int64_t inputs, int64_t from, int64_t to,
                        const typename L::V *h, typename L::V *y) {
    w += from * stride;
    int64_t left = to - from;
    for (; left >= ROWS; left -= ROWS, w += ROWS * stride, y += ROWS * SIDE) add_rows<L, ROWS>(w, stride, inputs, h, y);
    if (left >= 4) {
        add_rows<L, 4>(w, stride, inputs, h, y);
        left -= 4, w += 4 * stride, y += 4 * SIDE;
    }
    if (left >= 2) {
        add_rows<L, 2>(w, stride, inputs, h, y);
        left -= 2, w += 2 * stride, y += 2 * SIDE;
    }
    if (left) add_rows<L, 1>(w, stride, inputs, h, y);
}

// One feature of SIDE vectors: x and log dx/dy in place of y and of what the map's parameters were.
template <class L>
INLINE void undo(const ScalarMap &map, typename L::V *y, typename L::V *ladj, const typename L::V *params,
                 typename L::V *raw, typename L::V *mass) {
    using V = typename L::V;
    for (int v = 0; v < SIDE; v++) {
        V x, more;
        if (!map.box.bins) {
            const V both[2] = {params[v], params[SIDE + v]};
            affine<L>(true, map.limit, y[v], both, &x, &more);
        } else {
            for (int j = 0; j < 3 * map.box.bins - 1; j++) raw[j] = params[j * SIDE + v];
            values<L>(y[v], raw, &x, &more, map.box, mass);
        }
        y[v] = x;
        ladj[v] += more;
    }
}

template <class T> VECTOR_TARGET void some_rows(const Sequence<T> &all, int64_t from, int64_t count, void *memory) {
    using L = Lanes<T>;
    using V = typename L::V;
    constexpr int width = L::width;
    const int64_t features = all.widths[0], outputs = all.widths[all.layers + 1], params = outputs / features;
    const ScalarMap &map = all.map;
    std::vector<V *> h;
    V *free = (V *)memory, ladj[SIDE]{};
    for (int i = 0; i <= all.layers; i++) h.push_back(free), free += all.widths[i] * SIDE;
    V *raw = free, *mass = raw + params, *out = mass + 2 * map.box.bins;
    auto row = [&](int64_t lane) { return from + std::min(lane, count - 1); };
    for (int64_t step = 0, known = 0;; step++) {
        for (int i = 0; i < all.layers; i++) {
            const int64_t *ends = all.ends + i * (all.steps + 1), below = i ? all.ends[(i - 1) * (all.steps + 1) + step] : known;
            const int64_t first = step ? ends[step - 1] : 0, last = ends[step];
            for (int64_t j = first; j < last; j++)
                for (int v = 0; v < SIDE; v++) {
                    V start = V{} + all.biases[i][j];
                    if (!i && all.offset)
                        for (int l = 0; l < width; l++) start[l] += all.offset[row(v * width + l) * all.widths[1] + j];
                    h[i + 1][j * SIDE + v] = start;
                }
            add_product<L>(all.weights[i], all.widths[i], below, first, last, h[i], h[i + 1] + first * SIDE);
            for (int64_t j = first * SIDE; j < last * SIDE; j++)
                h[i + 1][j] = L::choose(h[i + 1][j] <= T(0), L::all(0), h[i + 1][j]);
        }
        if (step == all.steps) break;
        const int64_t next = all.firsts[step + 1], ready = all.ends[(all.layers - 1) * (all.steps + 1) + step];
        for (int64_t d = known; d < next; d++) {
            for (int64_t j = 0; j < params; j++)
                for (int v = 0; v < SIDE; v++) out[j * SIDE + v] = V{} + all.biases[all.layers][d * params + j];
            add_product<L>(all.weights[all.layers], all.widths[all.layers], ready, d * params, (d + 1) * params, h[all.layers], out);
            V y[SIDE];
            for (int v = 0; v < SIDE; v++)
                for (int l = 0; l < width; l++) y[v][l] = all.z[row(v * width + l) * features + d];
            undo<L>(map, y, ladj, out, raw, mass);
            for (int v = 0; v < SIDE; v++) {
                for (int l = 0; l < width && v * width + l < count; l++) all.x[(from + v * width + l) * features + d] = y[v][l];
                V seen = L::clamp(y[v], -FARTHEST, FARTHEST);
                h[0][d * SIDE + v] = seen / L::root(T(1) + seen * seen * T(1 / (REACH * REACH)));
            }
        }
        known = next;
    }
    for (int v = 0; v < SIDE; v++)
        for (int l = 0; l < width && v * width + l < count; l++) all.ladj[from + v * width + l] = ladj[v][l];
}

template <class T> void rows(const Sequence<T> &all, int64_t from, int64_t to) {
    constexpr int64_t width = SIDE * VECTOR_BYTES / sizeof(T);
    int64_t vectors = 0;
    for (int i = 0; i <= all.layers; i++) vectors += all.widths[i] * SIDE;
    const int64_t params = all.widths[all.layers + 1] / all.widths[0];
    vectors += params * (SIDE + 1) + 2 * all.map.box.bins;
    std::vector<char> memory((vectors + 1) * VECTOR_BYTES);
    void *aligned = (void *)(((uintptr_t)memory.data() + VECTOR_BYTES - 1) / VECTOR_BYTES * VECTOR_BYTES);
    for (; from < to; from += width) some_rows<T>(all, from, std::min(width, to - from), aligned);
}

}  // namespace VECTOR_NAME
}  // namespace

#undef INLINE
#undef VECTOR_NAME
#undef VECTOR_TARGET
#undef VECTOR_BYTES
