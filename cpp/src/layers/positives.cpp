// Label-sorted list of a batch: a stable radix sort by row of entries that arrive in instance order.
#include "layers/positives.h"

#include <algorithm>
#include <string>
#include <utility>

#include "csr/check_csr.h"
#include "layers/radix_sort.h"

namespace sparsexmc {

using kernels::Positive;

void check_labels(const LabelsView& labels, int64_t num_labels) {
  check_csr("labels", labels.rows, labels.indptr, labels.indices, num_labels, "label id");
}

std::vector<SegmentPositives> sort_positives(Buffers& buffers, const std::string& buffer, const LabelsView& labels,
                                             const uint32_t* label_rows, const std::vector<SegmentShape>& segments) {
  const int64_t count = labels.indptr[labels.rows] - labels.indptr[0];
  Positive* list = buffers.host<Positive>(buffer, 2 * std::max<int64_t>(count, 1));
  int64_t n = 0;
  for (int64_t b = 0; b < labels.rows; ++b)
    for (int64_t i = labels.indptr[b]; i < labels.indptr[b + 1]; ++i)
      list[n++] = {label_rows[labels.indices[i]], static_cast<uint32_t>(b)};
  std::vector<SegmentPositives> lists = split_positives(list, list + count, count, segments);
  const int64_t unique = lists.back().host + lists.back().count - list;
  const Positive* uploaded = buffers.upload<Positive>(buffer, list, unique);
  for (SegmentPositives& l : lists) l.data = uploaded + (l.host - list);
  return lists;
}

std::vector<SegmentPositives> split_positives(Positive* list, Positive* spare, int64_t count,
                                              const std::vector<SegmentShape>& segments) {
  const auto before = [](const Positive& a, const Positive& b) {
    return a.row < b.row || (a.row == b.row && a.column < b.column);
  };
  const uint32_t rows = static_cast<uint32_t>(segments.back().first_row + segments.back().rows);
  const auto by_row = [](const Positive& p) { return p.row; };
  Positive* sorted = radix_sort(list, spare, count, rows, by_row);
  if (sorted != list) std::copy_n(sorted, count, list);
  if (!std::is_sorted(list, list + count, before)) std::sort(list, list + count, before);  // columns came out of order
  Positive* end = std::unique(
      list, list + count, [](const Positive& a, const Positive& b) { return a.row == b.row && a.column == b.column; });

  std::vector<SegmentPositives> lists;
  Positive* begin = list;
  for (const SegmentShape& s : segments) {
    Positive* stop = std::partition_point(begin, end, [&](const Positive& p) { return p.row < s.first_row + s.rows; });
    for (Positive* p = begin; p != stop; ++p) p->row -= static_cast<uint32_t>(s.first_row);
    lists.push_back({begin, stop - begin, nullptr});
    begin = stop;
  }
  return lists;
}

}  // namespace sparsexmc
