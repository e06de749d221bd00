// Parsing JSON that may be damaged or foreign: every fault is a CheckpointError.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace sparsexmc::checkpoint {

/// Refuses invalid UTF-8, keys that occur twice in an object, more than 32 levels of nesting, and more than 2^23
/// values.
/// @param origin path of the file, for the messages
nlohmann::json parse_json(std::string_view text, const std::string& origin);

/// Member `key` of an object, which may be of any type itself.
const nlohmann::json& member(const nlohmann::json& object, const char* key, const std::string& origin);

/// Members of a given type. Counts are within 0 .. 2^63 - 1.
int64_t count_member(const nlohmann::json& object, const char* key, const std::string& origin);
bool bool_member(const nlohmann::json& object, const char* key, const std::string& origin);
const std::string& string_member(const nlohmann::json& object, const char* key, const std::string& origin);
const nlohmann::json& object_member(const nlohmann::json& object, const char* key, const std::string& origin);
const nlohmann::json& array_member(const nlohmann::json& object, const char* key, const std::string& origin);
/// NaN and the infinities are written as null and come back as NaN.
double number_member(const nlohmann::json& object, const char* key, const std::string& origin);

/// A non-negative integer within int64_t, whatever member it is of.
bool is_count(const nlohmann::json& value);

}  // namespace sparsexmc::checkpoint
