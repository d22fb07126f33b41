// The affine map y = x e^s + t with log scale s = c tanh(p / c), its inverse, and the gradients of both. Included by
// spline.cpp for every width of vectors, after spline.h.

namespace {
namespace VECTOR_NAME {

// tanh by e^v - 1 for v = 2 |u|, whose series serves where the difference would cancel.
template <class L> INLINE typename L::V tanh(typename L::V u) {
    using T = typename L::T;
    using V = typename L::V;
    V v = L::clamp(T(2) * L::magnitude(u), 0, 40), small = L::clamp(v, 0, 0.35), series = L::all(1);
    for (int i = L::F::exp_terms; i > 1; i--) series = series * small * T(1.0 / i) + T(1);
    V e = L::choose(v < T(0.35), series * small, L::exp(v) - T(1)), y = e / (e + T(2));
    return L::choose(u != u, u, L::choose(u < T(0), -y, y));
}

// e^s; NaN stays.
template <class L> INLINE typename L::V scale(typename L::V s) {
    return L::choose(s != s, s, L::exp(L::clamp(s, L::F::lowest_exp, -L::F::lowest_exp)));
}

template <class L>
INLINE void affine(bool inverse, double limit, typename L::V v, const typename L::V *params, typename L::V *out, typename L::V *ladj) {
    using T = typename L::T;
    typename L::V s = tanh<L>(params[1] / T(limit)) * T(limit);
    if (inverse) s = -s;
    *out = inverse ? (v - params[0]) * scale<L>(s) : v * scale<L>(s) + params[0];
    *ladj = s;
}

template <class L>
INLINE void affine_gradients(bool inverse, double limit, typename L::V v, typename L::V *params, typename L::V grad_out,
                             typename L::V grad_ladj, typename L::V *grad_v) {
    using T = typename L::T;
    using V = typename L::V;
    V u = tanh<L>(params[1] / T(limit)), s = u * T(limit), bend = T(1) - u * u;
    V to_v = grad_out * scale<L>(inverse ? -s : s);
    *grad_v = to_v;
    params[1] = (inverse ? -(to_v * (v - params[0]) + grad_ladj) : to_v * v + grad_ladj) * bend;
    params[0] = inverse ? -to_v : grad_out;
}

// Pairs of numbers to one vector of the first and one of the second ones, and back.
template <class L> INLINE void part_pairs(const typename L::T *pairs, typename L::V *to) {
    for (int j = 0; j < 2; j++) {
#ifdef __clang__  // which sees through this
        for (int i = 0; i < L::width; i++) to[j][i] = pairs[2 * i + j];
#else
        typename L::M order{};
        for (int i = 0; i < L::width; i++) order[i] = 2 * i + j;
        to[j] = __builtin_shuffle(L::load(pairs), L::load(pairs + L::width), order);
#endif
    }
}
template <class L> INLINE void join_pairs(const typename L::V *from, typename L::T *pairs) {
    L::store(L::zip(from[0], from[1], 0), pairs);
    L::store(L::zip(from[0], from[1], L::width / 2), pairs + L::width);
}

template <class T> INLINE void some_affine(const AffineWork<T> &work, int64_t from, int count) {
    using L = Lanes<T>;
    typename L::V params[2], v, first, second;
    if (count == L::width) part_pairs<L>(work.params + from * 2, params);
    else L::gather(work.params + from * 2, 2, count, params);
    v = L::load_some(work.v + from, count);
    if (!work.grad_out) {
        affine<L>(work.inverse, work.limit, v, params, &first, &second);
        L::store_some(second, work.second + from, count);
    } else {
        first = L::load_some(work.grad_out + from, count);
        second = L::load_some(work.grad_ladj + from, count);
        affine_gradients<L>(work.inverse, work.limit, v, params, first, second, &first);
        if (count == L::width) join_pairs<L>(params, work.second + from * 2);
        else L::scatter(params, work.second + from * 2, 2, count);
    }
    L::store_some(first, work.out + from, count);
}

template <class T> VECTOR_TARGET void affine_part(const AffineWork<T> &work, int64_t from, int64_t to) {
    constexpr int width = Lanes<T>::width;
    for (; from + width <= to; from += width) some_affine<T>(work, from, width);
    if (from < to) some_affine<T>(work, from, int(to - from));
}

}  // namespace VECTOR_NAME
}  // namespace
