// Search in an inverted index or among rows of bytes, and rankings with the votes of neighbors.
#include "sparsexmc/neighbors.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings.h"
#include "gil.h"
#include "sparsexmc/byte_rows.h"
#include "sparsexmc/error.h"
#include "sparsexmc/inverted_index.h"
#include "views.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class A, class B>
void check_same_shape(const char* a_name, const A& a, const char* b_name, const B& b) {
  if (a.shape(0) != b.shape(0) || a.shape(1) != b.shape(1))
    throw ArgumentError(std::string(a_name) + " and " + b_name + " differ in shape");
}

void search(const Indices& indptr, const Indices& indices, const Values& values, int64_t cols,
            const Indices& query_indptr, const Indices& query_indices, const Values& query_values,
            const Matrix<float>& products, const Matrix<int64_t>& columns, int num_threads) {
  const CsrView postings = features_view(indptr, indices, values, cols);
  const CsrView queries = features_view(query_indptr, query_indices, query_values, postings.rows);
  check_same_shape("products", products, "columns", columns);
  if (static_cast<int64_t>(columns.shape(0)) != queries.rows)
    throw ArgumentError("columns has another number of rows than the queries");
  const WithoutGil released;
  ThreadPool pool(num_threads);
  largest_products(postings, queries, nullptr, static_cast<int64_t>(columns.shape(1)), products.data(), columns.data(),
                   pool);
}

using Bytes = nb::ndarray<const int8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

void nearest_rows(const Bytes& rows, const Values& scales, const Matrix<const float>& queries,
                  const Matrix<float>& products, const Matrix<int64_t>& numbers, int num_threads) {
  const auto count = static_cast<int64_t>(scales.shape(0));
  if (static_cast<int64_t>(rows.shape(0)) != (count + ByteRows::group - 1) / ByteRows::group ||
      rows.shape(2) != static_cast<size_t>(ByteRows::group))
    throw ArgumentError("rows must be [ceil(len(scales) / 32), features, 32]");
  check_same_shape("products", products, "numbers", numbers);
  if (numbers.shape(0) != queries.shape(0)) throw ArgumentError("numbers has another number of rows than the queries");
  TensorView x;
  x.data = const_cast<float*>(queries.data());  // read only
  x.rows = static_cast<int64_t>(queries.shape(0));
  x.cols = static_cast<int64_t>(queries.shape(1));
  const ByteRows found{rows.data(), scales.data(), count, static_cast<int64_t>(rows.shape(1))};
  const WithoutGil released;
  Context context(Device{}, num_threads);
  largest_products(found, x, static_cast<int64_t>(numbers.shape(1)), products.data(), numbers.data(), context);
}

template <class T>
int64_t width(const Matrix<T>& matrix) {
  return static_cast<int64_t>(matrix.shape(1));
}

VoteIndex vote_index(const Matrix<const int64_t>& ids, const Matrix<const int64_t>& instances, const Indices& indptr,
                     const Indices& indices, const std::optional<Values>& instance_weights, int64_t num_labels,
                     int num_threads) {
  const LabelsView labels = labels_view(indptr, indices);
  if (instance_weights && static_cast<int64_t>(instance_weights->size()) != labels.rows)
    throw ArgumentError("instance_weights needs an entry per instance");
  if (instances.shape(0) != ids.shape(0)) throw ArgumentError("ids and instances differ in their number of rows");
  const WithoutGil released;
  ThreadPool pool(num_threads);
  return VoteIndex(ids.data(), width(ids), instances.data(), width(instances), static_cast<int64_t>(ids.shape(0)),
                   labels, instance_weights ? instance_weights->data() : nullptr, num_labels, pool);
}

void rank(const VoteIndex& index, const Matrix<const float>& candidates, const Matrix<const float>& similarities,
          double power, double weight, double smoothing, const std::optional<Values>& label_factors,
          const Matrix<float>& scores, const Matrix<int64_t>& best, int num_threads) {
  check_same_shape("scores", scores, "best", best);
  const auto rows = static_cast<size_t>(index.rows());
  if (candidates.shape(0) != rows || similarities.shape(0) != rows || best.shape(0) != rows)
    throw ArgumentError("candidates, similarities and best need the rows of the index");
  if (width(candidates) != index.width() || width(similarities) != index.count())
    throw ArgumentError("candidates and similarities need the columns of the index");
  if (label_factors && static_cast<int64_t>(label_factors->shape(0)) != index.num_labels())
    throw ArgumentError("label_factors needs an entry per label");
  const WithoutGil released;
  ThreadPool pool(num_threads);
  index.rank(candidates.data(), similarities.data(), {power, weight, smoothing},
             label_factors ? label_factors->data() : nullptr, width(best), scores.data(), best.data(), pool);
}

}  // namespace

void bind_neighbors(nb::module_& m) {
  m.def("largest_products", &search, nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(),
        nb::arg("values").noconvert(), nb::arg("cols"), nb::arg("query_indptr").noconvert(),
        nb::arg("query_indices").noconvert(), nb::arg("query_values").noconvert(), nb::arg("products").noconvert(),
        nb::arg("columns").noconvert(), nb::arg("num_threads"),
        "Fills products and columns [n, count] with the largest of each query; postings and queries in CSR form.");
  m.def(
      "nearest_rows", &nearest_rows, nb::arg("rows").noconvert(), nb::arg("scales").noconvert(),
      nb::arg("queries").noconvert(), nb::arg("products").noconvert(), nb::arg("numbers").noconvert(),
      nb::arg("num_threads"),
      "Fills products and numbers [n, count] with the largest of each query; row r is scales[r] times rows[r // 32, :, "
      "r % 32].");
  nb::class_<VoteIndex>(m, "VoteIndex", "Who contributes to which label, row by row: candidates and voting neighbors.")
      .def(nb::new_(&vote_index), nb::arg("ids").noconvert(), nb::arg("instances").noconvert(),
           nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(),
           nb::arg("instance_weights").noconvert().none(), nb::arg("num_labels"), nb::arg("num_threads"))
      .def("rank", &rank, nb::arg("candidates").noconvert(), nb::arg("similarities").noconvert(), nb::arg("power"),
           nb::arg("weight"), nb::arg("smoothing"), nb::arg("label_factors").noconvert().none(),
           nb::arg("scores").noconvert(), nb::arg("best").noconvert(), nb::arg("num_threads"),
           "Fills scores and best [n, k] with scores and votes added up label by label, times the label's factor.");
}

}  // namespace sparsexmc::python
