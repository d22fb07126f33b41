// A step of AdamW and of a moving average on pieces of the parameters. Included by spline.cpp for every width of vectors,
// after spline.h.

namespace {
namespace VECTOR_NAME {

// The sum of squares of so many numbers, at most some thousands: more would lose digits.
template <class T> VECTOR_TARGET double squares(const T *x, int64_t count) {
    using L = Lanes<T>;
    using V = typename L::V;
    V sums[4]{};
    int64_t i = 0;
    for (; i + 4 * L::width <= count; i += 4 * L::width)
        for (int k = 0; k < 4; k++) {
            const V v = L::load(x + i + k * L::width);
            sums[k] = sums[k] + v * v;
        }
    double sum = 0;
    for (; i < count; i++) sum += double(x[i]) * double(x[i]);
    for (int k = 0; k < 4; k++)
        for (int l = 0; l < L::width; l++) sum += double(sums[k][l]);
    return sum;
}

template <class T> VECTOR_TARGET void adam(const Adam<T> &step, const Piece<T> &piece) {
    using L = Lanes<T>;
    using V = typename L::V;
    for (int64_t i = 0; i < piece.count; i += L::width) {
        const int count = int(std::min<int64_t>(L::width, piece.count - i));
        const V grad = (piece.grad ? L::load_some(piece.grad + i, count) : V{}) / step.divisor;
        V first = L::load_some(piece.first + i, count), second = L::load_some(piece.second + i, count);
        V weight = L::load_some(piece.weight + i, count);
        first = first + (grad - first) * step.to_first;
        second = second * step.keep_second + grad * grad * step.to_second;
        weight = weight - weight * piece.decay;
        weight = weight - first * step.size / (L::root(second) / step.root + step.floor);
        L::store_some(first, piece.first + i, count);
        L::store_some(second, piece.second + i, count);
        L::store_some(weight, piece.weight + i, count);
    }
}

template <class T> VECTOR_TARGET void average(T share, const Piece<T> &piece) {
    using L = Lanes<T>;
    using V = typename L::V;
    for (int64_t i = 0; i < piece.count; i += L::width) {
        const int count = int(std::min<int64_t>(L::width, piece.count - i));
        const V mean = L::load_some(piece.mean + i, count);
        L::store_some(mean + (L::load_some(piece.weight + i, count) - mean) * share, piece.mean + i, count);
    }
}

}  // namespace VECTOR_NAME
}  // namespace
