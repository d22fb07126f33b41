// The mathematics of spline.cpp, which includes this once for every width of vectors. It is not instantiated from one
// template, because the compiler takes vectors apart before it inlines what has not the caller's target itself.

#define INLINE static inline __attribute__((always_inline)) VECTOR_TARGET

namespace {
namespace VECTOR_NAME {

template <class Scalar> struct Lanes {
    using T = Scalar;
    using F = Format<T>;
    typedef T V __attribute__((vector_size(VECTOR_BYTES)));
    typedef decltype(V{} < V{}) M;  // integers of the same size
    static constexpr int width = VECTOR_BYTES / sizeof(T);

    INLINE V all(double value) { return V{} + T(value); }
    INLINE V choose(M mask, V a, V b) { return mask ? a : b; }
    INLINE M bits(V x) { return reinterpret_cast<M>(x); }
    INLINE V from_bits(M x) { return reinterpret_cast<V>(x); }

    INLINE V load(const T *from) {
        V x;
        memcpy(&x, from, sizeof(V));
        return x;
    }
    INLINE void store(V x, T *to) { memcpy(to, &x, sizeof(V)); }

    // Half of the lanes of a and b in turn: a0 b0 a1 b1 ...
    INLINE V zip(V a, V b, int first) {
#ifdef __clang__  // which sees through this
        V y{};
        for (int i = 0; i < width; i++) y[i] = (i & 1 ? b : a)[first + i / 2];
        return y;
#else
        M order{};
        for (int i = 0; i < width; i++) order[i] = (i & 1) * width + first + i / 2;
        return __builtin_shuffle(a, b, order);
#endif
    }
    INLINE void transpose(V *x) {  // as many vectors as each has lanes
        V y[width];
        for (int stage = 1; stage < width; stage *= 2) {
            for (int i = 0; i < width / 2; i++) {
                y[2 * i] = zip(x[i], x[i + width / 2], 0);
                y[2 * i + 1] = zip(x[i], x[i + width / 2], width / 2);
            }
            memcpy(x, y, sizeof y);
        }
    }

    INLINE V load_some(const T *from, int count) {  // lanes beyond repeat the last
        if (count == width) return load(from);
        V x{};
        for (int i = 0; i < width; i++) x[i] = from[std::min(i, count - 1)];
        return x;
    }
    INLINE void store_some(V x, T *to, int count) {
        if (count == width) return store(x, to);
        for (int i = 0; i < count; i++) to[i] = x[i];
    }

    // Rows of numbers to one vector for each column; lanes beyond `count` repeat the last row.
    INLINE void gather(const T *rows, int columns, int count, V *to) {
        if (columns < width || count < width) {
            for (int j = 0; j < columns; j++)
                for (int i = 0; i < width; i++) to[j][i] = rows[std::min(i, count - 1) * columns + j];
            return;
        }
        for (int j = 0;; j = std::min(j + width, columns - width)) {
            V tile[width];
            for (int i = 0; i < width; i++) tile[i] = load(rows + i * columns + j);
            transpose(tile);
            memcpy(to + j, tile, sizeof tile);
            if (j == columns - width) return;
        }
    }
    INLINE void scatter(const V *from, T *rows, int columns, int count) {
        if (columns < width || count < width) {
            for (int i = 0; i < count; i++)
                for (int j = 0; j < columns; j++) rows[i * columns + j] = from[j][i];
            return;
        }
        for (int j = 0;; j = std::min(j + width, columns - width)) {
            V tile[width];
            memcpy(tile, from + j, sizeof tile);
            transpose(tile);
            for (int i = 0; i < width; i++) store(tile[i], rows + i * columns + j);
            if (j == columns - width) return;
        }
    }

    INLINE V clamp(V x, double low, double high) {  // NaN stays
        return choose(x > T(high), all(high), choose(x < T(low), all(low), x));
    }
    INLINE V magnitude(V x) { return choose(x < T(0), -x, x); }
    INLINE V root(V x) {
        V y{};
        for (int i = 0; i < width; i++) y[i] = sizeof(T) == 4 ? __builtin_sqrtf(x[i]) : __builtin_sqrt(x[i]);
        return y;
    }

    // e^x for x where that is a normal number: 2^n e^r with |r| <= log(2)/2, and Taylor's series.
    INLINE V exp(V x) {
        V shifted = x * T(0x1.71547652b82fep+0) + F::shift;
        V n = shifted - F::shift;
        V r = (x - n * F::ln2_high) - n * F::ln2_low;
        double inverse_factorial = 1;
        for (int i = 2; i <= F::exp_terms; i++) inverse_factorial /= i;
        V sum = all(inverse_factorial);
        for (int i = F::exp_terms; i > 0; i--) {
            inverse_factorial *= i;
            sum = sum * r + T(inverse_factorial);
        }
        return sum * from_bits((bits(shifted) + F::bias) << F::mantissa);
    }

    // 2 artanh(s) by its series, up to the given term.
    INLINE V twice_artanh(V s, int terms) {
        V z = s * s, sum = all(2.0 / (2 * terms - 1));
        for (int i = terms - 2; i >= 0; i--) sum = sum * z + T(2.0 / (2 * i + 1));
        return s * sum;
    }
    INLINE V log1p_of_fraction(V x) { return twice_artanh(x / (x + T(2)), F::log1p_terms); }  // 0 <= x <= 1

    INLINE V log(V x) {
        M small = x < F::tiny;
        V scaled = choose(small, x * T(0x1p60), x);
        M lowest = bits(all(0x1.6a09e6p-1));  // of the mantissas: from sqrt(1/2) to sqrt(2)
        M n = (bits(scaled) - lowest) >> F::mantissa;
        V m = from_bits(bits(scaled) - (n << F::mantissa));
        V exponent = __builtin_convertvector(n, V) - choose(small, all(60), all(0));
        V y = twice_artanh((m - T(1)) / (m + T(1)), F::log_terms) + exponent * F::ln2_low;
        y = y + exponent * F::ln2_high;
        y = choose(x == T(__builtin_inf()), x, y);
        y = choose(x == T(0), all(-__builtin_inf()), y);
        return choose((x < T(0)) | (x != x), all(__builtin_nan("")), y);
    }
    INLINE V softplus(V x) {
        V e = exp(clamp(-magnitude(x), F::lowest_exp, 0));
        return choose(x > T(20), x, choose(x > T(0), x, all(0)) + log1p_of_fraction(e));
    }
    INLINE V sigmoid(V x) {  // the slope of softplus
        V e = exp(clamp(-magnitude(x), F::lowest_exp, 0));
        return choose(x > T(20), all(1), choose(x > T(0), all(1), e) / (e + T(1)));
    }
};

// The bin of every lane's point: corner, extents, slopes; and what these were made of, widths first, heights second.
template <class L> struct Bin {
    using V = typename L::V;
    typename L::M inside;
    V v, k, raw0, raw1, d0, d1;
    V corner[2], extent[2], before[2], own[2], total[2], rate[2];
};

template <class L>
INLINE Bin<L> locate(typename L::V v, const typename L::V *raw, const Box &box, typename L::V *mass) {
    using T = typename L::T;
    using V = typename L::V;
    const int bins = box.bins;
    Bin<L> at;
    at.inside = (v > T(-box.bound)) & (v < T(box.bound));
    if (box.periodic) at.inside = ~(at.inside ^ at.inside);
    at.v = L::choose(at.inside, v, L::all(0));
    at.total[0] = at.total[1] = L::all(0);
    for (int j = 0; j < bins; j++)
        for (int side = 0; side < 2; side++) {
            V &of = mass[side * bins + j];
            of = L::exp(L::clamp(raw[side * bins + j], -LARGEST_RAW, LARGEST_RAW));
            at.total[side] += of;
        }
    for (int side = 0; side < 2; side++) {
        at.rate[side] = (T(1) / at.total[side]) * T(1 - box.min_bin * bins);
        at.before[side] = L::all(0);
        at.own[side] = mass[side * bins];
    }
    V share = (at.v + T(box.bound)) / T(2 * box.bound), upto[2] = {mass[0], mass[bins]};
    const V *slopes = raw + 2 * bins - !box.periodic;  // of the knots, the ends without their own excepted
    const V end = box.periodic ? slopes[0] : L::all(0);
    at.k = L::all(0);
    at.raw0 = end;
    at.raw1 = slopes[1];
    for (int j = 1; j < bins; j++) {
        auto beyond = share >= upto[box.inverse] * at.rate[box.inverse] + T(box.min_bin) * T(j);
        at.k = L::choose(beyond, L::all(j), at.k);
        for (int side = 0; side < 2; side++) {
            V next = mass[side * bins + j];
            at.before[side] = L::choose(beyond, upto[side], at.before[side]);
            at.own[side] = L::choose(beyond, next, at.own[side]);
            upto[side] += next;
        }
        at.raw0 = L::choose(beyond, slopes[j], at.raw0);
        at.raw1 = L::choose(beyond, j < bins - 1 ? slopes[j + 1] : end, at.raw1);
    }
    for (int side = 0; side < 2; side++) {
        V corner = T(box.min_bin) * at.k + at.rate[side] * at.before[side];
        at.corner[side] = T(2 * box.bound) * corner - T(box.bound);
        at.extent[side] = T(2 * box.bound) * (T(box.min_bin) + at.rate[side] * at.own[side]);
    }
    at.d0 = T(box.min_slope) + L::softplus(at.raw0 + T(box.slope_shift));
    at.d1 = T(box.min_slope) + L::softplus(at.raw1 + T(box.slope_shift));
    return at;
}

// How far into its bin a point is, from 0 to 1 (Durkan et al. 2019, eq. 6 to 8 for the inverse).
template <class L> INLINE typename L::V progress(const Bin<L> &at, bool inverse) {
    using T = typename L::T;
    using V = typename L::V;
    if (!inverse) return L::clamp((at.v - at.corner[0]) / at.extent[0], 0, 1);
    V theta = L::clamp((at.v - at.corner[1]) / at.extent[1], 0, 1);
    V s = at.extent[1] / at.extent[0];
    V bend = theta * (at.d0 + at.d1 - T(2) * s);
    V a = s - at.d0 + bend, b = at.d0 - bend, c = -s * theta;
    V square = b * b - T(4) * a * c;
    V root = L::root(L::choose(square < L::F::tiny, L::all(L::F::tiny), square));
    return L::clamp(T(2) * c / (-b - root), 0, 1);
}

template <class L>
INLINE void values(typename L::V v, const typename L::V *raw, typename L::V *out, typename L::V *ladj, const Box &box,
                   typename L::V *mass) {
    using T = typename L::T;
    using V = typename L::V;
    Bin<L> at = locate<L>(v, raw, box, mass);
    V xi = progress<L>(at, box.inverse);
    V s = at.extent[1] / at.extent[0], mixed = xi * (T(1) - xi);
    V below = s + (at.d0 + at.d1 - T(2) * s) * mixed;
    V above = at.d1 * xi * xi + T(2) * s * mixed + at.d0 * ((T(1) - xi) * (T(1) - xi));
    V ratio = s / below, log_slope = L::log(ratio * (ratio * above));
    V y = box.inverse ? at.corner[0] + at.extent[0] * xi
                      : at.corner[1] + at.extent[1] * (s * xi * xi + at.d0 * mixed) / below;
    *out = L::choose(at.inside, y, v);
    *ladj = L::choose(at.inside, box.inverse ? -log_slope : log_slope, L::all(0));
}

// The gradients of sum(grad_out * out + grad_ladj * ladj), those of params in place of `raw`. With l = log f'(x; theta), the inverse has
// dx = (dy - df/dtheta dtheta) / f' and ladj = -l, so both directions end in the same pull-back of f and l at x.
template <class L>
INLINE void gradients(typename L::V v, typename L::V *raw, typename L::V grad_out, typename L::V grad_ladj,
                      typename L::V *grad_v, const Box &box, typename L::V *mass) {
    using T = typename L::T;
    using V = typename L::V;
    const int bins = box.bins;
    Bin<L> at = locate<L>(v, raw, box, mass);
    V xi = progress<L>(at, box.inverse), rest = T(1) - xi, mixed = xi * rest;
    V w = at.extent[0], h = at.extent[1], s = h / w, delta = at.d0 + at.d1 - T(2) * s;
    V below = s + delta * mixed, above = at.d1 * xi * xi + T(2) * s * mixed + at.d0 * rest * rest;
    V share = (s * xi * xi + at.d0 * mixed) / below, ratio = s / below, rise = ratio * (ratio * above);
    V bend = T(2) * (at.d1 * xi + s * (rest - xi) - at.d0 * rest) / above - T(2) * delta * (rest - xi) / below;

    V gf = grad_out, gl = grad_ladj, gv;
    if (box.inverse) {
        gv = (gf - gl * bend / w) / rise;
        gf = -gv;
        gl = -gl;
    } else {
        gv = gf * rise + gl * bend / w;
    }
    *grad_v = L::choose(at.inside, gv, grad_out);

    V gx = -(gf * rise + gl * bend / w);  // to the corner; the width moves xi too
    V gs = gf * h * (xi * xi - share * (T(1) - T(2) * mixed)) / below +
           gl * T(2) * (T(1) / s - (T(1) - T(2) * mixed) / below + mixed / above);
    V g_corner[2] = {gx, gf}, g_extent[2] = {gx * xi - gs * s / w, gf * share + gs / w};
    V gd0 = gf * h * mixed * (T(1) - share) / below + gl * (rest * rest / above - T(2) * mixed / below);
    V gd1 = -gf * h * mixed * share / below + gl * (xi * xi / above - T(2) * mixed / below);
    for (int side = 0; side < 2; side++) {
        V scale = L::choose(at.inside, T(2 * box.bound) * at.rate[side], L::all(0));
        V to_before = g_corner[side] * scale, to_own = g_extent[side] * scale;
        V to_all = -(to_before * at.before[side] + to_own * at.own[side]) / at.total[side];
        for (int j = 0; j < bins; j++) {
            V g = L::choose(at.k > T(j), to_before, L::choose(at.k == T(j), to_own, L::all(0))) + to_all;
            V &of = raw[side * bins + j];
            of = L::choose(at.inside & (L::magnitude(of) <= T(LARGEST_RAW)), g * mass[side * bins + j], L::all(0));
        }
    }
    gd0 = L::choose(at.inside, gd0 * L::sigmoid(at.raw0 + T(box.slope_shift)), L::all(0));
    gd1 = L::choose(at.inside, gd1 * L::sigmoid(at.raw1 + T(box.slope_shift)), L::all(0));
    V *slopes = raw + 2 * bins - !box.periodic;
    for (int j = 1; j < bins; j++) slopes[j] = L::choose(at.k == T(j), gd0, L::choose(at.k == T(j - 1), gd1, L::all(0)));
    if (box.periodic) slopes[0] = L::choose(at.k == T(0), gd0, L::choose(at.k == T(bins - 1), gd1, L::all(0)));
}

template <class T> INLINE void some(const Work<T> &work, int64_t from, int count, typename Lanes<T>::V *scratch) {
    using L = Lanes<T>;
    using V = typename L::V;
    const int row = 3 * work.box.bins - !work.box.periodic;
    V *raw = scratch, *mass = scratch + row, v, first, second;
    L::gather(work.params + from * row, row, count, raw);
    v = L::load_some(work.v + from, count);
    if (!work.grad_out) {
        values<L>(v, raw, &first, &second, work.box, mass);
        L::store_some(second, work.second + from, count);
    } else {
        first = L::load_some(work.grad_out + from, count);
        second = L::load_some(work.grad_ladj + from, count);
        gradients<L>(v, raw, first, second, &first, work.box, mass);
        L::scatter(raw, work.second + from * row, row, count);
    }
    L::store_some(first, work.out + from, count);
}

template <class T> VECTOR_TARGET void part(const Work<T> &work, int64_t from, int64_t to) {
    constexpr int width = Lanes<T>::width;
    typename Lanes<T>::V scratch[5 * LARGEST_BINS];
    for (; from + width <= to; from += width) some<T>(work, from, width, scratch);
    if (from < to) some<T>(work, from, int(to - from), scratch);
}

}  // namespace VECTOR_NAME
}  // namespace
