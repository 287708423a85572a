#include "coordinator/service/log_routes.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "privacy/transparency/tile.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr absl::string_view kPrefix = "/log/";

absl::StatusOr<std::string> Tile(const Store& store, absl::string_view path) {
  CSL_ASSIGN_OR_RETURN(const privacy::TileName name, privacy::ParseTilePath(path));
  if (name.kind != privacy::TileName::Kind::kHashes) {
    return absl::NotFoundError("entries are not served here");
  }
  if (name.width > privacy::TileWidthAt(name.level, name.n, store.AuditSize())) {
    return absl::NotFoundError("there is no such tile yet");
  }
  return privacy::TileBytes(name.level, name.n, name.width, store.AuditNodes());
}

HttpResponse Answer(absl::StatusOr<std::string> body, const char* content_type) {
  if (body.ok()) return {.content_type = content_type, .body = *std::move(body)};
  const bool known = absl::IsInvalidArgument(body.status()) || absl::IsNotFound(body.status());
  return {.status = known ? 404 : 503, .body = absl::StrCat(body.status().message(), "\n")};
}

}  // namespace

std::vector<HttpRoute> LogRoutes(const Store& store, AuditLog& log) {
  const auto checkpoint = [&log](absl::string_view) {
    absl::StatusOr<AuditLog::Head> head = log.ReviewHead();
    if (!head.ok()) return Answer(head.status(), "");
    return Answer(std::move(head->note), "text/plain; charset=utf-8");
  };
  const auto tile = [&store](absl::string_view path) {
    return Answer(Tile(store, absl::StripPrefix(path, kPrefix)), "application/octet-stream");
  };
  return {{absl::StrCat(kPrefix, "checkpoint"), checkpoint},
          {absl::StrCat(kPrefix, "tile/"), tile}};
}

}  // namespace consilium::coordinator
