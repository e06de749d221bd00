// SHA-256 and the safetensors format: test vectors, round trips, and every kind of damage.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "checkpoint/file.h"
#include "checkpoint/json.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/sha256.h"
#include "scratch_directory.h"
#include "sparsexmc/error.h"

using namespace sparsexmc;
using namespace sparsexmc::checkpoint;

namespace {

std::string digest(const std::string& text, bool use_hardware, size_t piece) {
  Sha256 hash(use_hardware);
  for (size_t i = 0; i < text.size(); i += piece) hash.update(text.data() + i, std::min(piece, text.size() - i));
  return hash.hex_digest();
}

/// The bytes of a safetensors file.
std::string file_bytes(const std::string& header, const std::string& data, int64_t length_error = 0) {
  const uint64_t length = header.size() + static_cast<uint64_t>(length_error);
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]}";
}

/// Parses the bytes as a file and reads every tensor. @return the number of tensors
size_t read_all(const ScratchDirectory& scratch, const std::string& bytes) {
  write_text(scratch / "file", bytes);
  const InputFile file(Directory(scratch.path()), "file");
  const SafetensorsReader reader(file);
  for (size_t i = 0; i < reader.tensors().size(); ++i) {
    std::vector<char> buffer(reader.tensors()[i].bytes());
    reader.read(i, buffer.data());
  }
  return reader.tensors().size();
}

}  // namespace

TEST_CASE("sha256 gives the digests of FIPS 180-4 and of other implementations, in pieces of any size") {
  const std::string million(1'000'000, 'a');
  for (const bool use_hardware : {false, true}) {
    CAPTURE(use_hardware);
    for (const size_t piece : {1, 7, 63, 64, 65, 1'000'000}) {
      CHECK(digest("", use_hardware, piece) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
      CHECK(digest("abc", use_hardware, piece) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
      CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", use_hardware, piece) ==
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
      CHECK(digest(million, use_hardware, piece) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
  }
}

TEST_CASE("sha256 with and without SHA instructions agrees at every length around the block size") {
  std::string text;
  for (int length = 0; length < 200; ++length) {
    CHECK(digest(text, true, 1000) == digest(text, false, 13));
    text += static_cast<char>(length * 37);
  }
}

TEST_CASE("safetensors round trip: order, alignment, scalars and empty tensors") {
  const ScratchDirectory scratch;
  const Directory directory(scratch.path());
  const std::vector<NamedTensor> tensors = {{"indices", DType::uint16, {3, 1}}, {"weights", DType::float32, {2, 3}},
                                            {"order", DType::int64, {5}},       {"none", DType::float32, {0, 4}},
                                            {"scalar", DType::uint8, {}},       {"half", DType::bfloat16, {1}}};
  OutputFile out(directory, "file");
  SafetensorsWriter writer(out, tensors);
  char fill = 1;
  for (const NamedTensor& tensor : writer.tensors()) writer.write(std::string(tensor.bytes(), fill++).data());
  const PartRecord record = out.finish();
  const std::string bytes = read_text(scratch / "file");
  CHECK(record.bytes == bytes.size());
  CHECK(record.sha256 == sha256(bytes));
  CHECK(bytes[8] == '{');

  const InputFile in(directory, "file");
  CHECK(in.record().sha256 == record.sha256);
  const SafetensorsReader reader(in);
  REQUIRE(reader.tensors().size() == tensors.size());
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  CHECK(length % 8 == 0);
  size_t offset = 8 + length;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const NamedTensor& tensor = reader.tensors()[i];
    CAPTURE(tensor.name);
    const auto original = std::ranges::find(tensors, tensor.name, &NamedTensor::name);
    REQUIRE(original != tensors.end());
    CHECK(tensor.dtype == original->dtype);
    CHECK(tensor.shape == original->shape);
    CHECK(offset % dtype_size(tensor.dtype) == 0);
    std::string data(tensor.bytes(), '\0');
    reader.read(i, data.data());
    CHECK(data == bytes.substr(offset, tensor.bytes()));
    offset += tensor.bytes();
  }
  CHECK(offset == bytes.size());
}

TEST_CASE("safetensors: every false claim of a header is a CheckpointError") {
  const ScratchDirectory scratch;
  const std::string a = entry("a", "F32", "2", "0,8");
  CHECK(read_all(scratch, file_bytes("{" + a + "}", "12345678")) == 1);
  CHECK(read_all(scratch, file_bytes("{" + a + "," + entry("b", "U8", "1", "8,9") + "}  ", "123456789")) == 2);
  CHECK(read_all(scratch, file_bytes(R"({"__metadata__":{"k":"v"}})", "")) == 0);

  const std::string max = "9223372036854775807";
  const std::vector<std::string> bad = {
      "",
      "1234567",
      file_bytes("", ""),
      file_bytes("{}", "x"),
      file_bytes("{}", "", 1),
      file_bytes("{}", "", -1),
      file_bytes("{}", "", int64_t{1} << 62),
      file_bytes("{}", "", -3),  // lengths beyond the file, or negative
      file_bytes("[]", ""),
      file_bytes("3", ""),
      file_bytes("{", ""),
      file_bytes("nonsense", ""),
      file_bytes("{\"\xff\":1}", ""),  // not UTF-8
      file_bytes(std::string(100'000, '['), ""),
      file_bytes("{" + a + "," + a + "}", "12345678"),  // deep; twice
      file_bytes(R"({"__metadata__":{"k":1}})", ""),
      file_bytes(R"({"__metadata__":[]})", ""),
      file_bytes(R"({"a":3})", ""),
      file_bytes(R"({"a":{"dtype":"F32","shape":[2]}})", "12345678"),
      file_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})", "12345678"),
      file_bytes(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", "12345678"),
      file_bytes(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", "12345678"),
      file_bytes("{" + entry("a", "F31", "2", "0,8") + "}", "12345678"),
      file_bytes("{" + entry("a", "F32", "-2", "0,8") + "}", "12345678"),
      file_bytes("{" + entry("a", "F32", "2.0", "0,8") + "}", "12345678"),
      file_bytes("{" + entry("a", "F32", "3", "0,8") + "}", "12345678"),
      file_bytes("{" + entry("a", "F32", max + "," + max, "0,8") + "}", "12345678"),        // overflows
      file_bytes("{" + entry("a", "F32", "4611686018427387906", "0,8") + "}", "12345678"),  // 8 modulo 2^64
      file_bytes("{" + entry("a", "F32", "2", "8,0") + "}", "12345678"),
      file_bytes("{" + entry("a", "F32", "2", "0") + "}", "12345678"),
      file_bytes("{" + entry("a", "F32", "2", "0,8,8") + "}", "12345678"),
      file_bytes("{" + entry("a", "F32", "2", "-8,0") + "}", "12345678"),
      file_bytes("{" + a + "}", "1234567"),
      file_bytes("{" + a + "}", "123456789"),
      file_bytes("{" + entry("a", "F32", "2", "1,9") + "}", "123456789"),           // gap
      file_bytes("{" + a + "," + entry("b", "F32", "1", "4,8") + "}", "12345678"),  // overlap
      file_bytes("{" + a + "," + entry("b", "F32", "2", "0,8") + "}", "12345678")};
  for (size_t i = 0; i < bad.size(); ++i) {
    CAPTURE(i);
    CHECK_THROWS_AS(read_all(scratch, bad[i]), CheckpointError);
  }
}

TEST_CASE("safetensors: truncations and flipped bits are read or refused, never worse") {
  const ScratchDirectory scratch;
  const std::string good =
      file_bytes("{" + entry("a", "F32", "2,1", "0,8") + "," + entry("b", "U16", "3", "8,14") + "}", "12345678abcdef");
  for (size_t length = 0; length < good.size(); ++length)
    CHECK_THROWS_AS(read_all(scratch, good.substr(0, length)), CheckpointError);
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string damaged = good;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    size_t num_tensors = 2;
    try {
      num_tensors = read_all(scratch, damaged);
    } catch (const CheckpointError&) {
      continue;
    }
    CHECK(num_tensors == 2);  // a name or the data differs
  }
}

TEST_CASE("json: nesting, keys that occur twice and ill-typed members are refused") {
  CHECK(parse_json(R"({"a":{"b":1},"c":{"b":2}})", "file").size() == 2);
  for (const char* text : {"", "{", R"({"a":1,"a":2})", R"({"a":{"b":1,"b":1}})", "{} {}", "[1e999]"})
    CHECK_THROWS_AS(parse_json(text, "file"), CheckpointError);
  CHECK_THROWS_AS(parse_json(std::string(1'000'000, '['), "file"), CheckpointError);
  const auto json =
      parse_json(R"({"count":3,"negative":-1,"large":9223372036854775808,"real":2.5,"text":"t"})", "file");
  CHECK(count_member(json, "count", "file") == 3);
  CHECK(number_member(json, "real", "file") == 2.5);
  CHECK(string_member(json, "text", "file") == "t");
  for (const char* key : {"negative", "large", "real", "text", "absent"})
    CHECK_THROWS_AS(count_member(json, key, "file"), CheckpointError);
  CHECK_THROWS_AS(string_member(json, "count", "file"), CheckpointError);
  CHECK_THROWS_AS(number_member(json, "text", "file"), CheckpointError);
  CHECK_THROWS_AS(object_member(json, "text", "file"), CheckpointError);
  CHECK_THROWS_AS(array_member(json, "text", "file"), CheckpointError);
  CHECK_THROWS_AS(member(json["text"], "text", "file"), CheckpointError);
}
