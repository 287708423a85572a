// What the coordinator does with a round's mean delta: adds it to the base (FedAvg), or takes it
// for a gradient of its own optimiser. Every one of them needs the mean alone, never a single
// update, so they work the same under secure aggregation, and after a robust rule.
//
// D: the mean delta of the round (trained - base); x: the model; each formula for each parameter.
//
//   FedAvg      x <- x + eta D                               McMahan et al. 2017, arXiv:1602.05629,
//                                                            algorithm 1, with eta = 1
//   FedAvgM     m <- beta1 m + D                             Hsu et al. 2019, arXiv:1909.06335,
//               x <- x + eta m                               section 4.3 (v <- beta v + dw, w <- w
//               - v;
//                                                            their dw is our -D, their eta 1)
//   Reddi et al. 2020, arXiv:2003.00295, algorithm 2, the lines from the mean on:
//               m <- beta1 m + (1 - beta1) D
//   FedAdagrad  v <- v + D^2
//   FedYogi     v <- v - (1 - beta2) D^2 sign(v - D^2)
//   FedAdam     v <- beta2 v + (1 - beta2) D^2
//               x <- x + eta m / (sqrt(v) + tau)
// The paper corrects no bias and starts with m = 0 and any v >= tau^2; v = tau^2 here.
//
// State is the caller's: m and v as arrays of the model's length, kept from round to round with the
// model that they belong to. Arithmetic is in double, what is kept in float.
//
// The functions are thread-safe; a result depends on the parameter's own values alone, so blocks
// may be cut in any way.
#ifndef CONSILIUM_AGGREGATION_SERVER_OPTIMIZER_H_
#define CONSILIUM_AGGREGATION_SERVER_OPTIMIZER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace consilium::aggregation {

enum class ServerOptimizer { kFedAvg, kFedAvgM, kFedAdagrad, kFedYogi, kFedAdam };

// "fedavg", "fedavgm", "fedadagrad", "fedyogi", "fedadam".
absl::string_view ServerOptimizerName(ServerOptimizer optimizer);
// INVALID_ARGUMENT: no optimiser has this name.
absl::StatusOr<ServerOptimizer> ParseServerOptimizer(absl::string_view name);

struct ServerOptimizerOptions {
  ServerOptimizer optimizer = ServerOptimizer::kFedAvg;
  double eta = 1.0;    // server learning rate; of the last three about 0.01 (the paper's section 5)
  double beta1 = 0.9;  // the paper runs FedAdagrad with 0
  double beta2 = 0.99;  // FedYogi, FedAdam
  double tau = 1e-3;    // degree of adaptivity: smaller adapts more
};

// INVALID_ARGUMENT: eta not within (0, 1000], beta1 or beta2 not within [0, 1), tau not within
// [1e-10, 1]. Of those that the optimiser uses.
absl::Status CheckServerOptimizer(const ServerOptimizerOptions& options);

// Which state the optimiser keeps; what it starts with.
bool UsesFirstMoment(ServerOptimizer optimizer);   // m, starts as 0
bool UsesSecondMoment(ServerOptimizer optimizer);  // v, starts as InitialSecondMoment
float InitialSecondMoment(const ServerOptimizerOptions& options);

// A block of the state; a span is empty if the optimiser does not use it.
struct ServerState {
  absl::Span<float> m;
  absl::Span<float> v;
};

// One round for a block: `base` becomes the new model, `state` the state for the next round.
// INVALID_ARGUMENT, with nothing changed: options as CheckServerOptimizer, lengths that differ,
// state that the optimiser does not use or lacks. The caller checks that the new model is finite.
absl::Status ApplyServerOptimizer(const ServerOptimizerOptions& options,
                                  absl::Span<const float> mean_delta, absl::Span<float> base,
                                  ServerState state);

// SCAFFOLD's server, Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1, lines 16-17, over the
// sites S that took part, of N:
//   x <- x + eta_g mean dy_i        c <- c + (|S|/N) mean dc_i  ( = (1/N) sum dc_i)
// The paper's means count every site alike; dy may be weighted by cases as in FedAvg, dc may not: c
// is to stay the mean of all sites' c_i.
struct ScaffoldRound {
  double eta_global = 1.0;
  int64_t sites = 0;       // |S|
  int64_t population = 0;  // N: sites of the study, whether they took part or not
};

// One round for a block: of the model `x` and the server's control variate `c`, which starts as 0.
// INVALID_ARGUMENT, with nothing changed: lengths that differ; not 0 < sites <= population;
// eta_global not within (0, 1000].
absl::Status ApplyScaffold(const ScaffoldRound& round, absl::Span<const float> mean_delta_y,
                           absl::Span<const float> mean_delta_c, absl::Span<float> x,
                           absl::Span<float> c);

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_SERVER_OPTIMIZER_H_
