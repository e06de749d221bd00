// Readers and writers of text files.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <cstddef>
#include <string>
#include <tuple>
#include <utility>

#include "bindings.h"
#include "gil.h"
#include "numpy_array.h"
#include "sparsexmc/text_format.h"
#include "text_input.h"
#include "views.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

/// Runs a reader without the GIL.
template <class Read>
auto run(Read&& read) {
  const WithoutGil released;
  return read();
}

using Shape = std::pair<int64_t, int64_t>;
using FeatureArrays = std::tuple<NumPyArray<int64_t>, NumPyArray<int32_t>, NumPyArray<float>, Shape>;
using LabelArrays = std::tuple<NumPyArray<int64_t>, NumPyArray<int32_t>, Shape>;

FeatureArrays feature_arrays(CsrMatrix matrix) {
  return {to_numpy(std::move(matrix.indptr)), to_numpy(std::move(matrix.indices)), to_numpy(std::move(matrix.values)),
          Shape(matrix.rows, matrix.cols)};
}

LabelArrays label_arrays(CsrMatrix matrix) {
  return {to_numpy(std::move(matrix.indptr)), to_numpy(std::move(matrix.indices)), Shape(matrix.rows, matrix.cols)};
}

std::pair<FeatureArrays, LabelArrays> both_arrays(RepositoryData data) {
  return {feature_arrays(std::move(data.features)), label_arrays(std::move(data.labels))};
}

std::pair<FeatureArrays, LabelArrays> read_both(const nb::object& source) {
  TextSource text = text_source(source);
  return both_arrays(run([&] { return read_repository(std::move(text)); }));
}

std::pair<FeatureArrays, LabelArrays> read_headerless(const nb::object& source, int64_t first_number) {
  TextSource text = text_source(source);
  return both_arrays(run([&] { return read_libsvm(std::move(text), first_number); }));
}

FeatureArrays read_feature_rows(const nb::object& source) {
  TextSource text = text_source(source);
  return feature_arrays(run([&] { return read_features(std::move(text)); }));
}

LabelArrays read_label_rows(const nb::object& source) {
  TextSource text = text_source(source);
  return label_arrays(run([&] { return read_labels(std::move(text)); }));
}

LabelArrays read_filter_pairs(const nb::object& source, int64_t rows, int64_t num_labels) {
  TextSource text = text_source(source);
  return label_arrays(run([&] { return read_filter(std::move(text), rows, num_labels); }));
}

void write_both(const std::string& path, const Indices& indptr, const Indices& indices, const Values& values,
                int64_t cols, const Indices& label_indptr, const Indices& label_indices, int64_t num_labels) {
  const CsrView features = features_view(indptr, indices, values, cols);
  const LabelsView labels = labels_view(label_indptr, label_indices);
  const WithoutGil released;
  write_repository(path, features, labels, num_labels);
}

void write_feature_rows(const std::string& path, const Indices& indptr, const Indices& indices, const Values& values,
                        int64_t cols) {
  const CsrView features = features_view(indptr, indices, values, cols);
  const WithoutGil released;
  write_features(path, features);
}

void write_label_rows(const std::string& path, const Indices& indptr, const Indices& indices, int64_t num_labels) {
  const LabelsView labels = labels_view(indptr, indices);
  const WithoutGil released;
  write_labels(path, labels, num_labels);
}

}  // namespace

void bind_data(nb::module_& m) {
  // Every source is a path, or a stream with `name` and `readinto`.
  m.def("read_repository", &read_both, nb::arg("source"),
        "((indptr, indices, values, shape) of the features, (indptr, indices, shape) of the labels).");
  m.def("read_libsvm", &read_headerless, nb::arg("source"), nb::arg("first_number"),
        "The same of a file without a header.");
  m.def("read_features", &read_feature_rows, nb::arg("source"),
        "(indptr, indices, values, shape) of a file of the two-file form.");
  m.def("read_labels", &read_label_rows, nb::arg("source"), "(indptr, indices, shape) of a file of the two-file form.");
  m.def("read_filter", &read_filter_pairs, nb::arg("source"), nb::arg("rows"), nb::arg("num_labels"),
        "(indptr, indices, shape) of a filter file.");
  m.def("write_repository", &write_both, nb::arg("path"), nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(),
        nb::arg("values").noconvert(), nb::arg("cols"), nb::arg("label_indptr").noconvert(),
        nb::arg("label_indices").noconvert(), nb::arg("num_labels"));
  m.def("write_features", &write_feature_rows, nb::arg("path"), nb::arg("indptr").noconvert(),
        nb::arg("indices").noconvert(), nb::arg("values").noconvert(), nb::arg("cols"));
  m.def("write_labels", &write_label_rows, nb::arg("path"), nb::arg("indptr").noconvert(),
        nb::arg("indices").noconvert(), nb::arg("num_labels"));
}

}  // namespace sparsexmc::python
