// A coupling layer on images with its convolutional network, there and back. Some images at a time pass through all of it,
// so that what lies between stays in the cache. A convolution is a matrix product: of windows around the pixels, or, where
// it gives fewer channels than it takes, of the pixels, whose windows are overlaid then.

namespace {

constexpr int64_t PIXELS = 512;  // of the images that pass together

template <class T> struct Filter {
    int64_t inputs, outputs, side, taps;
    const T *weight, *bias;
    T *to_weight, *to_bias;  // gradients, or null
    T scale;                 // of the weight
    bool overlaid;           // what it gives, rather than windows of what it takes
    int64_t height, width;   // of its matrix
    std::vector<T> matrix, to_matrix, more;  // weights, their gradients, the bias and its gradients
    T *units;                // what it gives, rectified, pixels x outputs

    explicit Filter(Arguments &given) {
        inputs = given.size();
        outputs = given.size();
        side = given.size();
        weight = given.at<T>();
        bias = given.at<T>();
        to_weight = given.at<T>();
        to_bias = given.at<T>();
        scale = T(given.real());
        taps = side * side;
        overlaid = side > 1 && outputs < inputs;
        height = overlaid ? taps * outputs : outputs;
        width = overlaid ? inputs : taps * inputs;
        matrix.resize(height * width);
        each([&](int64_t here, int64_t there) { matrix[there] = weight[here]; });
        more.resize(2 * outputs + PAD);
        std::copy_n(bias, outputs, more.data());
    }

    // part(where a number is in the weight, where in the matrix).
    template <class F> void each(F part) const {
        for (int64_t o = 0, here = 0; o < outputs; o++)
            for (int64_t i = 0; i < inputs; i++)
                for (int64_t t = 0; t < taps; t++, here++)
                    part(here, overlaid ? ((taps - 1 - t) * outputs + o) * inputs + i : (o * taps + t) * inputs + i);
    }
    bool windowed() const { return side > 1 && !overlaid; }
    int64_t columns() const { return side == 1 ? 0 : overlaid ? height : width; }
    T *sums() { return more.data() + outputs; }
};

template <class T> struct ImageCoupling {
    int64_t images, height, width, pixels;
    int threads;
    Products<T> products;
    bool kept_whole;  // what gradients need, else of the images that pass together
    std::vector<Filter<T>> layers;
    ScalarMap map;
    int64_t features, kept, moved, columns = 0, widest = 0, together;
    const int64_t *kept_columns, *moved_columns;
    const T *x;
    T *params;

    explicit ImageCoupling(Arguments &given)
        : images(given.size()), height(given.size()), width(given.size()), pixels(height * width),
          threads(int(given.size())), products{given.at<void>()}, kept_whole(given.size()) {
        T *room = given.at<T>();
        together = std::max<int64_t>(1, PIXELS * threads / std::max<int64_t>(1, pixels));
        const int64_t rows = (kept_whole ? images : std::min(images, together)) * pixels;
        const int64_t count = given.size();
        layers.reserve(count);
        for (int64_t i = 0; i < count; i++) {
            layers.emplace_back(given);
            Filter<T> &layer = layers.back();
            layer.units = room;
            room += rows * layer.outputs + PAD;
            columns = std::max(columns, layer.columns());
            widest = std::max({widest, layer.inputs, layer.outputs});
        }
        params = layers.back().units;
        const int bins = int(given.size());
        const bool inverse = given.size();
        const double bound = given.real(), min_bin = given.real(), min_slope = given.real(), slope_shift = given.real();
        map = {{bins, inverse, false, bound, min_bin, min_slope, slope_shift}, given.real()};
        features = given.size();
        kept = given.size();
        moved = given.size();
        kept_columns = given.at<int64_t>();
        moved_columns = given.at<int64_t>();
        x = given.at<T>();
    }

    // part(first image, images, first row, rows), some images at a time.
    template <class F> void each(F part) const {
        for (int64_t i = 0; i < images; i += together) {
            const int64_t n = std::min(together, images - i);
            part(i, n, i * pixels, n * pixels);
        }
    }
    int64_t room() const { return std::min(images, together) * pixels; }
    Window window(int64_t n, int64_t channels, int64_t side) const { return {n, height, width, channels, side}; }
    bool residual(size_t i) const { return i > 0 && i + 1 < layers.size() && layers[i].inputs == layers[i].outputs; }

    void look(int64_t from, int64_t rows, T *seen, T *rate) const {
        run<T>(Look<T>{features, kept, kept, kept_columns, x + from * features, seen, rate}, rows, threads);
    }

    // What the network says of n images whose memory begins at pixel `at`.
    void forth(int64_t n, int64_t at, const T *seen, T *around, T *raw) const {
        const int64_t rows = n * pixels;
        for (size_t i = 0; i < layers.size(); i++) {
            const Filter<T> &layer = layers[i];
            const bool last = i + 1 == layers.size();
            const T *in = i ? layers[i - 1].units + at * layer.inputs : seen;
            T *to = last ? layer.units + at * layer.outputs : raw;
            if (layer.windowed()) {
                WIDEST(windows<T>)(window(n, layer.inputs, layer.side), in, around);
                in = around;
            }
            T *y = layer.overlaid ? around : to;
            products.multiply(rows, layer.width, layer.height, layer.scale, {in, layer.width, false},
                              {layer.matrix.data(), layer.width, true}, residual(i), y, layer.height);
            const T *bias = layer.more.data();
            if (layer.overlaid) WIDEST(overlaid<T>)(window(n, layer.outputs, layer.side), around, last ? bias : nullptr, to);
            if (last && layer.overlaid) continue;
            WIDEST(bend<T>)(rows, layer.outputs, bias, to, last ? nullptr : layer.units + at * layer.outputs);
        }
    }

    // From gradients g to what the network says, to its weights, which are added up, and to what it sees, or null.
    // `others` has room for rows of two hidden layers.
    void back(int64_t n, int64_t at, const T *seen, T *g, T *to_seen, T *around, T *others) {
        const int64_t rows = n * pixels;
        WIDEST(unbend<T>)(rows, layers.back().outputs, g, nullptr, nullptr, layers.back().sums());
        for (size_t i = layers.size(); i-- > 0;) {
            Filter<T> &layer = layers[i];
            const T *in = i ? layers[i - 1].units + at * layer.inputs : seen, *out = g;
            if (layer.overlaid) WIDEST(windows<T>)(window(n, layer.outputs, layer.side), g, around), out = around;
            if (layer.to_weight) {
                if (layer.windowed()) WIDEST(windows<T>)(window(n, layer.inputs, layer.side), in, around), in = around;
                products.multiply(layer.height, rows, layer.width, layer.scale, {out, layer.height, true},
                                  {in, layer.width, false}, 1, layer.to_matrix.data(), layer.width);
            }
            T *to = i ? others + (i % 2) * (room() * widest + PAD) : to_seen;
            if (!to) return;
            products.multiply(rows, layer.height, layer.width, layer.scale, {out, layer.height, false},
                              {layer.matrix.data(), layer.width, false}, 0, layer.windowed() ? around : to, layer.width);
            if (layer.windowed()) WIDEST(overlaid<T>)(window(n, layer.inputs, layer.side), around, nullptr, to);
            if (i) WIDEST(unbend<T>)(rows, layer.inputs, to, layers[i - 1].units + at * layer.inputs, residual(i) ? g : nullptr, layers[i - 1].sums());
            g = to;
        }
    }
};

template <class T> void image_coupling_forth(Arguments given) {
    const ImageCoupling<T> layer(given);
    T *z = given.at<T>(), *ladj = given.at<T>();
    const int64_t room = layer.room(), outputs = layer.layers.back().outputs;
    std::unique_ptr<T[]> spare(new T[room * (2 * layer.kept + layer.columns + layer.widest + 1) + 5 * PAD]);
    T *seen = spare.get(), *rate = seen + room * layer.kept + PAD, *around = rate + room * layer.kept + PAD;
    T *raw = around + room * layer.columns + PAD, *sums = raw + room * layer.widest + PAD;
    layer.each([&](int64_t image, int64_t n, int64_t from, int64_t rows) {
        const int64_t at = layer.kept_whole ? from : 0;
        layer.look(from, rows, seen, rate);
        layer.forth(n, at, seen, around, raw);
        std::fill_n(sums, rows, T(0));
        run<T>(CouplingWork<T>{layer.map, layer.features, layer.moved, layer.moved_columns, layer.x + from * layer.features,
                               layer.params + at * outputs, nullptr, nullptr, z + from * layer.features, sums, nullptr},
               rows, layer.threads);
        for (int64_t i = 0; i < n; i++) {
            T sum = 0;
            for (int64_t p = 0; p < layer.pixels; p++) sum += sums[i * layer.pixels + p];
            ladj[image + i] = sum;
        }
    });
}

template <class T> void image_coupling_back(Arguments given) {
    ImageCoupling<T> layer(given);
    const T *to_z = given.at<T>(), *to_ladj = given.at<T>();
    T *to_x = given.at<T>();
    const int64_t room = layer.room(), outputs = layer.layers.back().outputs, features = layer.features, kept = layer.kept;
    std::unique_ptr<T[]> spare(new T[room * (3 * kept + layer.columns + 2 * layer.widest + outputs + features + 1) + 9 * PAD]);
    T *seen = spare.get(), *rate = seen + room * kept + PAD, *to_seen = rate + room * kept + PAD;
    T *around = to_seen + room * kept + PAD, *others = around + room * layer.columns + PAD;
    T *to_params = others + 2 * (room * layer.widest + PAD), *unwanted = to_params + room * outputs + PAD;
    T *sums = unwanted + room * features + PAD;
    for (auto &filter : layer.layers) filter.to_matrix.resize(filter.to_weight ? filter.matrix.size() : 0);
    layer.each([&](int64_t image, int64_t n, int64_t from, int64_t rows) {
        for (int64_t i = 0; i < n; i++) std::fill_n(sums + i * layer.pixels, layer.pixels, to_ladj[image + i]);
        T *to = to_x ? to_x + from * features : unwanted;
        run<T>(CouplingWork<T>{layer.map, features, layer.moved, layer.moved_columns, layer.x + from * features,
                               layer.params + from * outputs, to_z + from * features, sums, to, nullptr, to_params},
               rows, layer.threads);
        layer.look(from, rows, seen, rate);
        layer.back(n, from, seen, to_params, to_x ? to_seen : nullptr, around, others);
        if (to_x) unsquash<T>(rows, features, kept, kept, layer.kept_columns, rate, to_seen, to);
    });
    for (auto &filter : layer.layers) {
        if (filter.to_weight) filter.each([&](int64_t here, int64_t there) { filter.to_weight[here] = filter.to_matrix[there]; });
        if (filter.to_bias) std::copy_n(filter.sums(), filter.outputs, filter.to_bias);
    }
}

}  // namespace
