// Model directories: the C++ writers and readers as they are; sparsexmc.core.directory makes files of their parts.
#include "sparsexmc/checkpoint.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings.h"
#include "engine.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Buffer = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

/// A writer that Python can end before its time. The directory goes with the last reference, open parts included.
template <class Writer>
struct Closable {
  std::optional<Writer> writer;

  Writer& open() {
    if (!writer) throw ArgumentError("the writer has been closed");
    return *writer;
  }
};
using Model = Closable<ModelWriter>;
using Plain = Closable<DirectoryWriter>;
using Part = Closable<PartWriter>;

nb::dict parts(const ModelReader& reader) {
  nb::dict result;
  for (const auto& [name, record] : reader.parts()) {
    nb::dict entry;
    entry["bytes"] = record.bytes;
    entry["sha256"] = record.sha256.empty() ? nb::none() : nb::object(nb::str(record.sha256.c_str()));
    result[name.c_str()] = entry;
  }
  return result;
}

size_t read_into(const ModelReader& reader, const std::string& name, uint64_t offset, const Buffer& out) {
  const auto found = reader.parts().find(name);
  const uint64_t size = found == reader.parts().end() ? 0 : found->second.bytes;
  const uint64_t left = offset < size ? size - offset : 0;
  const size_t bytes = left < out.size() ? static_cast<size_t>(left) : out.size();
  const WithoutGil released;
  reader.read(name, offset, out.data(), bytes);
  return bytes;
}

void bind_writers(nb::module_& m) {
  nb::class_<Part>(m, "PartWriter", "A new part of a model directory.")
      .def(
          "write",
          [](Part& part, const Bytes& data) {
            const WithoutGil released;
            part.open().write(data.data(), data.size());
          },
          nb::arg("data").noconvert())
      .def(
          "close",
          [](Part& part) {
            const WithoutGil released;
            part.open().close();
          },
          "Waits for the disk and lists the part.")
      .def("abandon", [](Part& part) { part.writer.reset(); }, "Leaves the part unlisted: nothing can be published.");

  nb::class_<Model>(m, "ModelWriter", "Writes a model directory, whole or not at all.")
      .def(
          "__init__",
          [](Model* self, const std::string& path) {
            const WithoutGil released;
            new (self) Model{ModelWriter(path)};
          },
          nb::arg("path"))
      .def(
          "add_classifier",
          [](Model& model, Engine& engine, const std::vector<std::string>& names, const std::string& card,
             bool for_prediction) {
            engine.call([&](Classifier& c) { model.open().add_classifier(c, names, card, for_prediction); });
          },
          nb::arg("engine"), nb::arg("label_names"), nb::arg("card"), nb::arg("for_prediction"))
      .def(
          "open", [](Model& model, const std::string& name) { return Part{model.open().open(name)}; }, nb::arg("name"))
      .def(
          "add_text",
          [](Model& model, const std::string& name, const std::string& text) {
            const WithoutGil released;
            model.open().add_text(name, text);
          },
          nb::arg("name"), nb::arg("text"))
      .def("publish",
           [](Model& model) {
             const WithoutGil released;
             model.open().publish();
           })
      .def("close", [](Model& model) { model.writer.reset(); }, "Without publish() everything vanishes.");

  nb::class_<Plain>(m, "DirectoryWriter", "Writes a directory of named files, whole or not at all.")
      .def(
          "__init__",
          [](Plain* self, const std::string& path, const std::vector<std::string>& names) {
            const WithoutGil released;
            new (self) Plain{DirectoryWriter(path, names)};
          },
          nb::arg("path"), nb::arg("names"))
      .def_prop_ro(
          "path", [](Plain& plain) { return plain.open().path(); }, "Of the temporary directory.")
      .def("publish",
           [](Plain& plain) {
             const WithoutGil released;
             plain.open().publish();
           })
      .def("close", [](Plain& plain) { plain.writer.reset(); }, "Without publish() everything vanishes.");
}

}  // namespace

void bind_checkpoint(nb::module_& m) {
  bind_writers(m);
  nb::class_<ModelReader>(m, "ModelReader", "A model directory, open and verified.")
      .def(
          "__init__",
          [](ModelReader* self, const std::string& path) {
            const WithoutGil released;
            new (self) ModelReader(path);
          },
          nb::arg("path"))
      .def_prop_ro("manifest", &ModelReader::manifest, "The text of config.json.")
      .def_prop_ro("parts", &parts, "name -> {bytes, sha256}.")
      .def("read_into", &read_into, nb::arg("name"), nb::arg("offset"), nb::arg("out").noconvert(),
           "Number of bytes read, fewer than `out` has room for only at the end of the part.")
      .def(
          "engine",
          [](const ModelReader& reader, const std::string& device, int num_threads, bool trainable) {
            const WithoutGil released;
            return new Engine(reader.classifier(device, num_threads, trainable));
          },
          nb::arg("device"), nb::arg("num_threads"), nb::arg("trainable"), nb::rv_policy::take_ownership)
      .def(
          "restore",
          [](const ModelReader& reader, Engine& engine) { engine.call([&](Classifier& c) { reader.restore(c); }); },
          nb::arg("engine"), "Replaces tensors and progress of a classifier with the same configuration.")
      .def("label_names", [](const ModelReader& reader) {
        const WithoutGil released;
        return reader.label_names();
      });
  m.def("enclosing_model", &enclosing_model, nb::arg("path"), nb::call_guard<WithoutGil>(),
        "The model directory that a path lies in; empty if there is none.");
  m.def("recover_directory", &recover_directory, nb::arg("path"), nb::call_guard<WithoutGil>(),
        "Puts back a directory that a process set aside when it was killed.");
}

}  // namespace sparsexmc::python
