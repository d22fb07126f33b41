// The map from Student's tails to normal ones, z = sign(t) sqrt(log(1 + w) / lambda) with w = lambda t^2, its inverse, and
// the gradients of both; lambda is one number for each sign of t. Included by spline.cpp for every width of vectors, after
// affine.h.

namespace {
namespace VECTOR_NAME {

// Of log(1 + x) / x or (e^x - 1) / x the value, and the derivative over the value.
template <class L> struct Ratio {
    typename L::V value, rate;
};

template <class L> INLINE Ratio<L> log1p_ratio(typename L::V w, typename L::V log1p) {
    using T = typename L::T;
    using V = typename L::V;
    constexpr double terms[] = {1, -1.0 / 2, 1.0 / 3, -1.0 / 4, 1.0 / 5, -1.0 / 6};
    auto small = w < T(1e-3);
    V low = L::choose(small, w, L::all(0)), safe = L::choose(small, L::all(1), w);
    V sum = L::all(terms[5]), bend = L::all(5 * terms[5]);
    for (int i = 4; i >= 0; i--) sum = sum * low + T(terms[i]);
    for (int i = 4; i > 0; i--) bend = bend * low + T(i * terms[i]);
    V value = L::choose(small, sum, log1p / safe);
    return {value, L::choose(small, bend, (T(1) / (T(1) + w) - value) / safe) / value};
}

template <class L> INLINE Ratio<L> expm1_ratio(typename L::V v) {  // 0 <= v
    using T = typename L::T;
    using V = typename L::V;
    auto small = v < T(0.35);
    V low = L::choose(small, v, L::all(0)), safe = L::choose(small, L::all(1), v), e = L::exp(L::clamp(v, 0, 64));
    double term = 1;  // 1 / (i + 1)!
    for (int i = 2; i <= L::F::exp_terms + 1; i++) term /= i;
    V sum = L::all(term), bend = L::all(L::F::exp_terms * term);
    for (int i = L::F::exp_terms - 1; i >= 0; i--) {
        term *= i + 2;
        sum = sum * low + T(term);
        if (i > 0) bend = bend * low + T(i * term);
    }
    V value = L::choose(small, sum, (e - T(1)) / safe);
    return {value, L::choose(small, bend, (e - value) / safe) / value};
}

template <class L> INLINE typename L::V log1p(typename L::V w) {
    using T = typename L::T;
    return L::choose(w < T(1), L::log1p_of_fraction(L::clamp(w, 0, 1)), L::log(T(1) + w));
}

// One side of the map at a >= 0: the point and ladj, and the derivatives of both by a and by lambda.
template <class L> struct Side {
    typename L::V out, ladj, out_by_a, ladj_by_a, out_by_lambda, ladj_by_lambda;
};

// Beyond the edge, where log(1 + w) is 60, the map goes on as a straight line.
template <class L> INLINE Side<L> lighten(bool inverse, typename L::V a, typename L::V lambda) {
    using T = typename L::T;
    using V = typename L::V;
    constexpr double LEAST = 1e-8;
    const V none = L::all(0);
    auto known = lambda >= T(LEAST);
    V edge = T(0x1.370470aec28edp+43) / L::root(L::choose(known, lambda, L::all(LEAST)));  // e^30
    V edge_by_lambda = L::choose(known, edge / (T(-2) * lambda), none);
    if (!inverse) {
        auto beyond = a >= edge;
        V inner = L::choose(beyond, edge, a), w = lambda * inner * inner, high = log1p<L>(w);
        Ratio<L> r = log1p_ratio<L>(w, high);
        V root = L::root(r.value), slope = T(1) / ((T(1) + w) * root);
        V bend = T(1) / (T(1) + w) + T(0.5) * r.rate;
        V within = T(0.5) * inner * (inner * inner * r.rate) * root;
        V outside = L::choose(known, edge_by_lambda * (root - slope), within);
        return {inner * root + L::choose(beyond, (a - edge) * slope, none), -high - T(0.5) * L::log(r.value),
                slope, L::choose(beyond, none, T(-2) * lambda * a * bend),
                L::choose(beyond, outside, within), L::choose(beyond, none, -inner * inner * bend)};
    }
    V w = lambda * edge * edge, high = log1p<L>(w), r = log1p_ratio<L>(w, high).value, root = L::root(r);
    V top = edge * root, slope = T(1) / ((T(1) + w) * root);
    auto beyond = a >= top;
    V inner = L::choose(beyond, top, a), v = lambda * inner * inner;
    Ratio<L> e = expm1_ratio<L>(v);
    V stretch = L::root(e.value), bend = T(1) - T(0.5) * e.rate;
    return {L::choose(beyond, edge + (a - top) / slope, inner * stretch),
            L::choose(beyond, high + T(0.5) * L::log(r), v - T(0.5) * L::log(e.value)),
            L::choose(beyond, T(1) / slope, (T(1) + v * e.value) / stretch),
            L::choose(beyond, none, T(2) * lambda * a * bend),
            L::choose(beyond, edge_by_lambda * (T(1) - root / slope), T(0.5) * inner * (inner * inner * e.rate) * stretch),
            L::choose(beyond, none, inner * inner * bend)};
}

template <class T> INLINE void some_tails(const TailWork<T> &work, int64_t from, int count) {
    using L = Lanes<T>;
    using V = typename L::V;
    V params[2], v = L::load_some(work.v + from, count);
    if (count == L::width) part_pairs<L>(work.params + from * 2, params);
    else L::gather(work.params + from * 2, 2, count, params);
    auto lower = v < T(0);
    V raw = L::choose(lower, params[0], params[1]), sign = L::choose(lower, L::all(-1), L::all(1));
    Side<L> side = lighten<L>(work.inverse, L::magnitude(v), L::choose(raw < T(0), L::all(0), raw));
    V first = sign * side.out;
    if (!work.grad_out) {
        L::store_some(side.ladj, work.second + from, count);
    } else {
        V to_out = L::load_some(work.grad_out + from, count), to_ladj = L::load_some(work.grad_ladj + from, count);
        first = to_out * side.out_by_a + sign * to_ladj * side.ladj_by_a;
        V to_raw = L::choose(raw < T(0), L::all(0), sign * to_out * side.out_by_lambda + to_ladj * side.ladj_by_lambda);
        V parts[2] = {L::choose(lower, to_raw, L::all(0)), L::choose(lower, L::all(0), to_raw)};
        if (count == L::width) join_pairs<L>(parts, work.second + from * 2);
        else L::scatter(parts, work.second + from * 2, 2, count);
    }
    L::store_some(first, work.out + from, count);
}

template <class T> VECTOR_TARGET void tail_part(const TailWork<T> &work, int64_t from, int64_t to) {
    constexpr int width = Lanes<T>::width;
    for (; from + width <= to; from += width) some_tails<T>(work, from, width);
    if (from < to) some_tails<T>(work, from, int(to - from));
}

}  // namespace VECTOR_NAME
}  // namespace
