// Text files: the first byte chooses the reader. What is accepted has to be a matrix whose every index is in range.
#include <cstdlib>

#include "csr/check_csr.h"
#include "input_file.h"
#include "sparsexmc/error.h"
#include "sparsexmc/text_format.h"

namespace {

void check(const sparsexmc::CsrMatrix& matrix, bool has_values) {
  const sparsexmc::CsrView view = matrix.view();
  if (matrix.indptr.size() != static_cast<size_t>(matrix.rows) + 1) std::abort();
  if (matrix.indptr.back() != static_cast<int64_t>(matrix.indices.size())) std::abort();
  if (has_values && matrix.values.size() != matrix.indices.size()) std::abort();
  sparsexmc::check_csr("matrix", view.rows, view.indptr, view.indices, view.cols, "column");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const MemoryFile file(data + 1, size - 1);
  try {
    switch (data[0] % 5) {
      case 0: {
        const sparsexmc::RepositoryData read = sparsexmc::read_repository(file.path());
        check(read.features, true);
        check(read.labels, false);
        break;
      }
      case 1:
        check(sparsexmc::read_features(file.path()), true);
        break;
      case 2:
        check(sparsexmc::read_labels(file.path()), false);
        break;
      case 3: {
        const sparsexmc::RepositoryData read = sparsexmc::read_libsvm(file.path(), size % 2);
        check(read.features, true);
        check(read.labels, false);
        break;
      }
      default:
        check(sparsexmc::read_filter(file.path(), 5, 7), false);
    }
  } catch (const sparsexmc::DataError&) {
  }
  return 0;
}
