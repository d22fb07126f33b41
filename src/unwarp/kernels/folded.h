// Linear maps of all pixels' channels, one after another, as one product of matrices, with gradients; and their inverses.

#include <cmath>

namespace {

enum class Fold { scale, order, lu };

// z = x e^s + t; z_i = x of order_i; or z = L U x + t with a unit diagonal of L, and e^s, s bounded, that of U.
template <class T> struct Folded {
    int64_t rows, channels, pixels, area;
    Products<T> products;
    struct Map {
        Fold kind;
        const T *log_scale, *shift, *lower, *upper;
        T *to_log_scale, *to_shift, *to_lower, *to_upper;
        const int64_t *order;
        T limit;
        std::vector<T> scale, l, u, whole;  // e^s; L, U and their product
    };
    std::vector<Map> maps;
    std::vector<std::vector<T>> matrices, shifts;  // before the first map, after it, and so on
    T log_det = 0;                                 // of one pixel
    const T *x;

    explicit Folded(Arguments &given)
        : rows(given.size()), channels(given.size()), pixels(given.size()), area(channels * channels), products{given.at<void>()} {
        maps.resize(given.size());
        for (auto &map : maps) {
            map.kind = Fold(given.size());
            map.order = given.at<int64_t>();
            map.log_scale = given.at<T>();
            map.shift = given.at<T>();
            map.lower = given.at<T>();
            map.upper = given.at<T>();
            map.to_log_scale = given.at<T>();
            map.to_shift = given.at<T>();
            map.to_lower = given.at<T>();
            map.to_upper = given.at<T>();
            map.limit = T(given.real());
        }
        const bool inverse = given.size();
        x = given.at<T>();
        matrices.emplace_back(area, T(0));
        shifts.emplace_back(channels, T(0));
        for (int64_t i = 0; i < channels; i++) matrices[0][i * channels + i] = 1;
        for (auto &map : maps) inverse ? undo(map) : follow(map);
    }

    // to = a b + keep to, of as many rows and columns as there are channels.
    void multiply(Matrix<T> a, Matrix<T> b, T keep, T *to) const {
        products.multiply(channels, channels, channels, 1, a, b, keep, to, channels);
    }
    Matrix<T> square(const T *at, bool flipped = false) const { return {at, channels, flipped}; }

    void follow(Map &map) {
        const std::vector<T> &before = matrices.back(), &from = shifts.back();
        std::vector<T> after(area), to(channels);
        map.scale.resize(channels);
        for (int64_t i = 0; map.log_scale && i < channels; i++) {
            const T s = map.kind == Fold::lu ? map.limit * std::tanh(map.log_scale[i] / map.limit) : map.log_scale[i];
            map.scale[i] = std::exp(s);
            log_det += s;
        }
        if (map.kind == Fold::lu) {
            map.l.resize(area);
            map.u.resize(area);
            map.whole.resize(area);
            for (int64_t i = 0, at = 0; i < channels; i++)
                for (int64_t j = 0; j < channels; j++, at++) {
                    map.l[at] = j < i ? map.lower[at] : T(i == j);
                    map.u[at] = j > i ? map.upper[at] : i == j ? map.scale[i] : T(0);
                }
            multiply(square(map.l.data()), square(map.u.data()), 0, map.whole.data());
            multiply(square(map.whole.data()), square(before.data()), 0, after.data());
        }
        for (int64_t i = 0; i < channels; i++) {
            const int64_t source = map.kind == Fold::order ? map.order[i] : i;
            const T scale = map.kind == Fold::scale ? map.scale[i] : T(1);
            for (int64_t j = 0; map.kind != Fold::lu && j < channels; j++)
                after[i * channels + j] = before[source * channels + j] * scale;
            T sum = map.kind == Fold::lu ? T(0) : from[source] * scale;
            for (int64_t j = 0; map.kind == Fold::lu && j < channels; j++) sum += map.whole[i * channels + j] * from[j];
            to[i] = map.shift ? sum + map.shift[i] : sum;
        }
        matrices.push_back(std::move(after));
        shifts.push_back(std::move(to));
    }

    void undo(const Map &map) {
        std::vector<T> after = matrices.back(), to = shifts.back();
        for (int64_t i = 0; map.shift && i < channels; i++) to[i] -= map.shift[i];
        if (map.kind == Fold::lu) {
            for (int64_t i = 0; i < channels; i++) subtract(map.lower, i, 0, i, after, to);
            for (int64_t i = channels; i-- > 0;) {
                const T s = map.limit * std::tanh(map.log_scale[i] / map.limit);
                subtract(map.upper, i, i + 1, channels, after, to);
                divide(s, i, after, to);
            }
        } else if (map.kind == Fold::scale) {
            for (int64_t i = 0; i < channels; i++) divide(map.log_scale[i], i, after, to);
        } else {
            for (int64_t i = 0; i < channels; i++) {
                std::copy_n(&matrices.back()[i * channels], channels, &after[map.order[i] * channels]);
                to[map.order[i]] = shifts.back()[i];
            }
        }
        matrices.push_back(std::move(after));
        shifts.push_back(std::move(to));
    }

    // From row i of a matrix and a shift the rows j, so many times as row i of a factor says.
    void subtract(const T *factor, int64_t i, int64_t from, int64_t end, std::vector<T> &matrix, std::vector<T> &shift) const {
        for (int64_t j = from; j < end; j++) {
            const T times = factor[i * channels + j];
            for (int64_t k = 0; k < channels; k++) matrix[i * channels + k] -= times * matrix[j * channels + k];
            shift[i] -= times * shift[j];
        }
    }
    void divide(T log_scale, int64_t i, std::vector<T> &matrix, std::vector<T> &shift) {
        const T scale = std::exp(-log_scale);
        for (int64_t k = 0; k < channels; k++) matrix[i * channels + k] *= scale;
        shift[i] *= scale;
        log_det -= log_scale;
    }

    // From gradients to the matrix and the shift after a map, and to the log-determinant, to its own and those before.
    void back(Map &map, const std::vector<T> &before, const std::vector<T> &from, T to_log_det, std::vector<T> &g, std::vector<T> &to_shift) const {
        if (map.to_shift) std::copy_n(to_shift.data(), channels, map.to_shift);
        std::vector<T> to(area), to_from(channels), to_scale(channels);
        if (map.kind == Fold::lu) {
            std::vector<T> to_whole(area), part(area);
            multiply(square(g.data()), square(before.data(), true), 0, to_whole.data());
            for (int64_t i = 0; i < channels; i++)
                for (int64_t j = 0; j < channels; j++) {
                    to_whole[i * channels + j] += to_shift[i] * from[j];
                    to_from[j] += map.whole[i * channels + j] * to_shift[i];
                }
            multiply(square(to_whole.data()), square(map.u.data(), true), 0, part.data());
            for (int64_t i = 0, at = 0; map.to_lower && i < channels; i++)
                for (int64_t j = 0; j < channels; j++, at++) map.to_lower[at] = j < i ? part[at] : T(0);
            multiply(square(map.l.data(), true), square(to_whole.data()), 0, part.data());
            for (int64_t i = 0, at = 0; i < channels; i++) {
                to_scale[i] = part[i * channels + i];
                for (int64_t j = 0; map.to_upper && j < channels; j++, at++) map.to_upper[at] = j > i ? part[at] : T(0);
            }
            multiply(square(map.whole.data(), true), square(g.data()), 0, to.data());
        } else {
            for (int64_t i = 0; i < channels; i++) {
                const int64_t source = map.kind == Fold::order ? map.order[i] : i;
                const T scale = map.kind == Fold::scale ? map.scale[i] : T(1);
                to_from[source] = to_shift[i] * scale;
                to_scale[i] = to_shift[i] * from[source];
                for (int64_t j = 0; j < channels; j++) {
                    to[source * channels + j] = g[i * channels + j] * scale;
                    to_scale[i] += g[i * channels + j] * before[source * channels + j];
                }
            }
        }
        for (int64_t i = 0; map.to_log_scale && i < channels; i++) {
            const T bend = map.kind == Fold::lu ? std::tanh(map.log_scale[i] / map.limit) : T(0);
            map.to_log_scale[i] = (to_scale[i] * map.scale[i] + to_log_det) * (1 - bend * bend);
        }
        g.swap(to);
        to_shift.swap(to_from);
    }
};

template <class T> void folded_forth(Arguments given) {
    Folded<T> all(given);
    T *z = given.at<T>(), *ladj = given.at<T>();
    const T *shift = all.shifts.back().data();
    for (int64_t row = 0; row < all.rows; row++) std::copy_n(shift, all.channels, z + row * all.channels);
    all.products.multiply(all.rows, all.channels, all.channels, 1, {all.x, all.channels, false},
                          {all.matrices.back().data(), all.channels, true}, 1, z, all.channels);
    *ladj = all.log_det * T(all.pixels);
}

template <class T> void folded_back(Arguments given) {
    Folded<T> all(given);
    const T *g = given.at<T>(), *to_ladj = given.at<T>();
    T *to_x = given.at<T>();
    const int64_t d = all.channels;
    if (to_x) all.products.multiply(all.rows, d, d, 1, {g, d, false}, {all.matrices.back().data(), d, false}, 0, to_x, d);
    std::vector<T> to_matrix(all.area), to_shift(d);
    all.products.multiply(d, all.rows, d, 1, {g, d, true}, {all.x, d, false}, 0, to_matrix.data(), d);
    constexpr int64_t block = 256;  // rows summed one after another: more would lose digits
    for (int64_t first = 0; first < all.rows; first += block) {
        std::vector<T> some(d);
        for (int64_t row = first; row < std::min(first + block, all.rows); row++)
            for (int64_t i = 0; i < d; i++) some[i] += g[row * d + i];
        for (int64_t i = 0; i < d; i++) to_shift[i] += some[i];
    }
    for (size_t k = all.maps.size(); k-- > 0;)
        all.back(all.maps[k], all.matrices[k], all.shifts[k], *to_ladj * T(all.pixels), to_matrix, to_shift);
}

}  // namespace
