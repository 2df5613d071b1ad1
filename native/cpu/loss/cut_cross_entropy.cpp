// The schedules of cut cross-entropy: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024.
//
//   forward            one sweep; a row remembers its running maximum, sum and target score
//   backward           scores again, tile by tile, from the saved log-sum-exp: with forward, 4 GEMM passes
//   lossAndGradient    fused: a block of rows keeps its scores between the sweep and the gradients: 3 GEMM passes
//
// The operator that sees the tiles is in cut_cross_entropy-inl.h, what happens once per row in cut_cross_entropy_rows-inl.h.
#include "cpu/loss/cut_cross_entropy.h"

#include "cpu/engine/backward-inl.h"
#include "cpu/loss/cut_cross_entropy_rows-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

constexpr int64_t kForwardRows = 1024;
constexpr int64_t kBackwardWindow = 4 * kWindowStep;

// With R rows to a block, a step of the classifier's gradient reads and writes memory 2.7 P / (R W) as long as it computes
// (P operations, W floats per second): 4 % at 512 rows of what 2 cores at 115 Gflop/s and 30 GB/s take, 7 % at 256, most of
// it behind the arithmetic. More rows than that buy nothing, and their scores cost 4 R V bytes.
constexpr int64_t kMostRows = 512, kFewestRows = 128, kRowStep = 128;

int64_t rowsWithin(int64_t bytes, int64_t bytesPerRow, int64_t most) {
  return std::clamp(bytes / std::max<int64_t>(1, bytesPerRow) / kRowStep * kRowStep, kFewestRows, most);
}

// 52 MB of scores, more only to have 256 rows, and never above 160 MB unless that leaves fewer than 128.
int64_t fusedRows(const CutCrossEntropyArguments& a) {
  const int64_t bytesPerRow = 4 * a.classes();
  return std::max(rowsWithin(52'000'000, bytesPerRow, kMostRows), rowsWithin(160'000'000, bytesPerRow, 256));
}

// Three packed copies of a block's rows or gradients, 10 MB.
int64_t recomputeRows(const CutCrossEntropyArguments& a) {
  return rowsWithin(10'000'000, 12 * a.embeddings.columns, 2 * kDepthBlock);
}

using Panel = CutCrossEntropy::Panel;

// Space for the sweep of one row block.
struct ReduceBuffers {
  ReduceBuffers(WorkspaceCursor& cursor, const CutCrossEntropyArguments& a, int64_t rows)
      : panelCount(lanePanelCount(rows)),
        partialCount(panelCount * ColumnChunks(a.classes()).count),
        topCount(a.topCount()),
        panels(cursor.take<Panel>(panelCount)),
        partials(cursor.take<Panel>(partialCount)),
        topScores(cursor.take<float>((panelCount + partialCount) * topCount * kLanePanel)),
        topTokens(cursor.take<int32_t>((panelCount + partialCount) * topCount * kLanePanel)),
        targetColumns(cursor.take<int32_t>(panelCount * kLanePanel)),
        states(cursor.take<RowState>(panelCount * kLanePanel)) {}

  void connectTop() const {
    for (int64_t i = 0; i < panelCount + partialCount; ++i) {
      Panel& panel = i < panelCount ? panels[i] : partials[i - panelCount];
      panel.top = {topScores + i * topCount * kLanePanel, topTokens + i * topCount * kLanePanel, topCount};
    }
  }

  int64_t panelCount, partialCount, topCount;
  Panel *panels, *partials;
  float* topScores;
  int32_t *topTokens, *targetColumns;
  RowState* states;
};

struct ForwardBuffers {
  ForwardBuffers(WorkspaceCursor& cursor, const CutCrossEntropyArguments& a, int64_t rows, int threads)
      : visits(cursor, a, false),
        reduce(cursor, a, rows),
        packedRows(cursor.take<float>(lanePanelFloats(rows, a.embeddings.columns))),
        tiles(cursor, threads, lanePanelCount(rows), a.embeddings.columns) {}

  VisitBuffers visits;
  ReduceBuffers reduce;
  float* packedRows;
  TileScratches tiles;
};

RowPlan planForward(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  return {a.rows(), kForwardRows, limit, [&](int64_t rows) {
            WorkspaceCursor measure;
            ForwardBuffers(measure, a, rows, threads);
            return measure.used();
          }};
}

// The rows of the caller's embeddings that are visited, one after another.
Operand visitedRows(const CutCrossEntropyArguments& a, const Visits& visits) {
  Operand rows = a.embeddings;
  rows.rows = visits.rows;
  rows.rowIds = visits.rowIds;
  return rows;
}

Operand visitedClasses(const CutCrossEntropyArguments& a, const Visits& visits) {
  Operand classes = a.classifier;
  classes.rowIds = visits.classIds;
  return classes;
}

CutCrossEntropy makeOperator(const CutCrossEntropyArguments& a, const Visits& visits, const ReduceBuffers& reduce,
                             int64_t firstRow) {
  CutCrossEntropy op(a, visits, reduce.targetColumns);
  op.firstRow = firstRow;
  op.hasEntropy = a.entropy || a.gradEntropy;
  return op;
}

void forward(const CutCrossEntropyArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  const RowPlan plan = planForward(a, execution.threads, limit);
  WorkspaceCursor cursor(workspace);
  const ForwardBuffers buffers(cursor, a, plan.rows, execution.threads);
  const Visits visits = visitRows(a, buffers.visits);
  const Operand rows = visitedRows(a, visits);
  buffers.reduce.connectTop();
  LossOutputs outputs(a, visits);
  outputs.clearIgnored();
  for (int64_t first = 0; first < visits.rows; first += plan.rows) {
    const PackedRows x{buffers.packedRows, {first, std::min(first + plan.rows, visits.rows)}, rows.columns};
    packLanePanels(rowsOf(rows, first, x.rows.size()), buffers.packedRows, execution);
    findTargets(a, visits, x.rows, buffers.reduce.targetColumns);
    reduceRows(makeOperator(a, visits, buffers.reduce, first), x, a.classifier, buffers.reduce.panels,
               buffers.reduce.partials, buffers.tiles, execution);
    outputs.add(x, buffers.reduce.panels, buffers.reduce.targetColumns, buffers.reduce.states);
  }
  outputs.finish(reductionFactor(a));
}

// Both gradient schedules: fused when the window is the whole vocabulary. The rows of a block, which the bits depend on, are
// chosen for one thread's scratch; more threads than fit then go unused.
struct GradientPlan {
  GradientPlan(const CutCrossEntropyArguments& a, bool fused, int mostThreads, size_t limit)
      : rows(fused ? fusedRows(a) : recomputeRows(a)),
        window(fused ? std::max<int64_t>(1, a.classes()) : kBackwardWindow),
        threads(mostThreads) {
    while (measure(a, 1) > limit) {
      if (!fused && window > kWindowStep)
        window = ceilDivide(window / 2, kWindowStep) * kWindowStep;
      else if (rows > kFewestRows)
        rows -= kRowStep;
      else
        break;
    }
    while (threads > 1 && measure(a, threads) > limit) --threads;
    bytes = measure(a, threads);
  }

  // What a call needs before it knows which rows it visits.
  struct VisitSpace {
    VisitSpace(WorkspaceCursor& cursor, const CutCrossEntropyArguments& a)
        : visits(cursor, a, a.orderVocabulary), dBias(cursor.take<float>(a.dLogitScale && a.bias ? a.classes() : 0)) {}

    VisitBuffers visits;
    float* dBias;  // which d(logit_scale) needs where the caller wants none
  };

  // What the sweeps over the visited rows need.
  struct Buffers {
    ReduceBuffers reduce;
    RowFactors factors;
    float* dropped;
    GradientFilter filter;
    BackwardSweep sweep;
  };
  Buffers take(WorkspaceCursor& cursor, const CutCrossEntropyArguments& a, const Visits& visits, int threads) const {
    const int64_t panels = lanePanelCount(std::min(rows, std::max<int64_t>(1, a.rows())));
    Buffers buffers{{cursor, a, panels * kLanePanel},
                    RowFactors(cursor, panels * kLanePanel),
                    cursor.take<float>(a.filters() ? panels * kLanePanel : 0),
                    {a.filterEmbeddings, a.filterClassifier, a.filterReport || a.droppedProbability},
                    {{.x = visitedRows(a, visits),
                      .y = visitedClasses(a, visits),
                      .dX = a.dEmbeddings,
                      .dY = a.dClassifier,
                      .dXRowIds = visits.rowIds,
                      .dYRowIds = visits.classIds},
                     rows,
                     window}};
    if (a.filters()) buffers.filter.takeWorkspace(cursor, panels, std::min(window, a.classes()), a.classes());
    buffers.sweep.takeWorkspace(cursor, threads);
    return buffers;
  }
  size_t measure(const CutCrossEntropyArguments& a, int threads) const {
    WorkspaceCursor cursor;
    VisitSpace(cursor, a);
    Visits all;
    all.rows = a.rows();
    take(cursor, a, all, threads);
    return cursor.used();
  }

  int64_t rows, window;
  int threads;
  size_t bytes;
};

void clear(const Vector<float>& v) {
  for (int64_t i = 0; v && i < v.size; ++i) v[i] = 0;
}

// d(logit_scale) of the loss, since scores are homogeneous in it: sum of dScore (dot + bias) / logit_scale, where
// sum_v dScore[n, v] dot[n, v] = embeddings[n] . dEmbeddings[n] (Euler), or the same over the classifier's rows.
double weightedSum(const Operand& m, const Matrix<float>& gradient) {
  double sum = 0;
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.columns; ++j)
      if (gradient(i, j) != 0) sum += static_cast<double>(gradient(i, j)) * static_cast<double>(elementAt(m, i, j));
  return sum;
}

void storeLogitScaleGradient(const CutCrossEntropyArguments& a) {
  double sum = a.dEmbeddings ? weightedSum(a.embeddings, a.dEmbeddings) : weightedSum(a.classifier, a.dClassifier);
  for (int64_t v = 0; a.bias && v < a.classes(); ++v)
    sum += static_cast<double>(a.dBias[v]) * static_cast<double>(a.bias[v]);
  a.dLogitScale[0] = static_cast<float>(sum / static_cast<double>(a.logitScale));
}

double largestRowNorm(const Operand& m) {
  double largest = 0;
  for (int64_t i = 0; i < m.rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < m.columns; ++j) {
      const double x = static_cast<double>(elementAt(m, i, j));
      sum += x * x;
    }
    largest = std::max(largest, sum);
  }
  return std::sqrt(largest);
}

// What the filter has left out, added up over the row blocks of a call.
class FilterReport {
 public:
  explicit FilterReport(const CutCrossEntropyArguments& a)
      : a_(a), wanted_(a.filters() && (a.filterReport || a.droppedProbability)) {
    clear(a.droppedProbability);
  }
  bool wanted() const { return wanted_ && a_.filterEmbeddings > 0 && a_.dEmbeddings; }

  void addBlock(const Visits& visits, Range rows, const float* dropped, const float* scales) {
    for (int64_t position = rows.begin; position < rows.end; ++position) {
      const double sum = static_cast<double>(dropped[position - rows.begin]);
      const double scale = static_cast<double>(scales[position - rows.begin]);
      const double probability = scale > 0 ? sum / scale : 0;
      leftOut_ += sum;
      largest_ = std::max(largest_, probability);
      if (a_.droppedProbability) a_.droppedProbability[visits.row(position)] = static_cast<float>(probability);
    }
  }

  void finish(const Visits& visits, const GradientFilter& filter) const {
    if (!a_.filterReport) return;
    const GradientFilter::TileCounts counts = a_.filters() ? filter.totals() : GradientFilter::TileCounts{};
    a_.filterReport->d_embeddings_tiles = counts.dXSteps;
    a_.filterReport->d_embeddings_tiles_skipped = counts.dXSkipped;
    a_.filterReport->d_classifier_tiles = counts.dYSteps;
    a_.filterReport->d_classifier_tiles_skipped = counts.dYSkipped;
    a_.filterReport->d_embeddings_error = leftOut_ > 0 ? leftOut_ * largestRowNorm(a_.classifier) : 0;
    a_.filterReport->d_classifier_error =
        counts.dYDropped > 0 ? counts.dYDropped * largestRowNorm(visitedRows(a_, visits)) : 0;
    a_.filterReport->max_dropped_probability = largest_;
  }

 private:
  const CutCrossEntropyArguments& a_;
  bool wanted_;
  double leftOut_ = 0, largest_ = 0;
};

Execution withThreads(Execution execution, int threads) {
  execution.threads = threads;
  return execution;
}

Visits findVisits(const CutCrossEntropyArguments& a, const VisitBuffers& buffers, const Execution& execution) {
  Visits visits = visitRows(a, buffers);
  if (a.orderVocabulary) orderClasses(a, buffers, execution, visits);
  return visits;
}

CutCrossEntropyArguments withBiasGradient(CutCrossEntropyArguments a, float* dBias) {
  if (a.dLogitScale && a.bias && !a.dBias) a.dBias = {dBias, a.classes(), 1};
  return a;
}

// What both gradient schedules begin with. The members are made in this order, out of one workspace.
struct GradientCall {
  GradientCall(const CutCrossEntropyArguments& given, bool fused, const Execution& whole, size_t limit, std::byte* workspace)
      : plan(given, fused, whole.threads, limit),
        execution(withThreads(whole, plan.threads)),
        cursor(workspace),
        space(cursor, given),
        arguments(withBiasGradient(given, space.dBias)),
        visits(findVisits(given, space.visits, execution)),
        constants(given),
        buffers(plan.take(cursor, arguments, visits, plan.threads)) {
    buffers.reduce.connectTop();
  }

  GradientPlan plan;
  Execution execution;
  WorkspaceCursor cursor;
  GradientPlan::VisitSpace space;
  CutCrossEntropyArguments arguments;
  Visits visits;
  GradientConstants constants;
  GradientPlan::Buffers buffers;
};

// Gradients of all blocks. makeStates(op, x) finds the row states of a block that begin() has packed: in the caller's
// arrays, or by a sweep that keeps its scores.
template <class MakeStates>
void sweepGradients(GradientCall& call, bool scoresKept, const MakeStates& makeStates) {
  const CutCrossEntropyArguments& a = call.arguments;
  const Visits& visits = call.visits;
  GradientPlan::Buffers& buffers = call.buffers;
  FilterReport report(a);
  GradientFilter* filter = a.filters() ? &buffers.filter : nullptr;
  if (filter) filter->clearCounts();
  clear(a.dBias);
  if (a.dEmbeddings && visits.rowIds)
    for (int64_t row = 0; row < a.rows(); ++row)
      if (a.ignored(row)) std::fill_n(a.dEmbeddings.row(row), a.dEmbeddings.columns, 0.0f);

  BackwardSweep& sweep = buffers.sweep;
  for (int64_t block = 0; block < sweep.blocks(); ++block) {
    const Range rows = sweep.block(block);
    sweep.begin(rows, call.execution, [&](int64_t position) { return isIdle(a, visits.row(position)); });
    findTargets(a, visits, rows, buffers.reduce.targetColumns);
    CutCrossEntropy op = makeOperator(a, visits, buffers.reduce, rows.begin);
    makeStates(op, sweep.packedRows());
    fillFactors(a, visits, call.constants, rows, buffers.reduce.states, buffers.factors);
    op.factors = &buffers.factors;
    op.holdsLogits = scoresKept;
    if (filter) filter->setScales(buffers.factors.filterScale);
    if (report.wanted()) std::fill_n(buffers.dropped, lanePanelCount(rows.size()) * kLanePanel, 0.0f);
    sweep.run(op, scoresKept, call.execution, filter, [&](Range window) {
      if (report.wanted()) buffers.filter.addDropped(lanePanelCount(rows.size()), window.size(), buffers.dropped);
    });
    if (report.wanted()) report.addBlock(visits, rows, buffers.dropped, buffers.factors.filterScale);
  }
  if (a.dLogitScale) storeLogitScaleGradient(a);
  report.finish(visits, buffers.filter);
}

void backward(const CutCrossEntropyArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  GradientCall call(a, false, execution, limit, workspace);
  sweepGradients(call, false, [&](const CutCrossEntropy&, const PackedRows& x) {
    for (int64_t position = x.rows.begin; position < x.rows.end; ++position) {
      const int64_t row = call.visits.row(position);
      call.buffers.reduce.states[position - x.rows.begin] = {
          a.logSumExp[row], a.targetLogProbability ? -a.targetLogProbability[row] : 0.0f, a.entropy ? a.entropy[row] : 0.0f};
    }
  });
}

bool isFused(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  if (a.schedule != FK_SCHEDULE_AUTO) return a.schedule == FK_SCHEDULE_FUSED;
  return GradientPlan(a, true, threads, limit).bytes <= limit;
}

void fusedLossAndGradient(const CutCrossEntropyArguments& a, const Execution& execution, size_t limit,
                          std::byte* workspace) {
  GradientCall call(a, true, execution, limit, workspace);
  const ReduceBuffers& reduce = call.buffers.reduce;
  LossOutputs outputs(call.arguments, call.visits);
  outputs.clearIgnored();
  sweepGradients(call, true, [&](const CutCrossEntropy& op, const PackedRows& x) {
    reduceRows(
        op, x, visitedClasses(a, call.visits), reduce.panels, reduce.partials,
        [&](int slot, Range tile) { return call.buffers.sweep.keptTile(slot, tile); }, call.execution);
    outputs.add(x, reduce.panels, reduce.targetColumns, reduce.states);
  });
  outputs.finish(call.constants.reduction);
}

// The recomputing schedule is forward, then backward from what it saves, which the workspace keeps if the caller does not.
struct RecomputePlan {
  RecomputePlan(const CutCrossEntropyArguments& a, size_t limit, std::byte* workspace)
      : arguments(a), cursor(workspace), limit(limit) {
    if (!arguments.logSumExp) arguments.logSumExp = keep();
    if (!arguments.targetLogProbability && a.lossShape != FK_LOSS_SHAPE_CROSS_ENTROPY)
      arguments.targetLogProbability = keep();
    if (!arguments.entropy && a.gradEntropy) arguments.entropy = keep();
    this->limit -= std::min(limit, cursor.used());
  }
  Vector<float> keep() { return {cursor.take<float>(arguments.rows()), arguments.rows(), 1}; }

  CutCrossEntropyArguments arguments;
  WorkspaceCursor cursor;
  size_t limit;  // what is left for either half
};

void lossAndGradient(const CutCrossEntropyArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  if (isFused(a, execution.threads, limit)) return fusedLossAndGradient(a, execution, limit, workspace);
  const RecomputePlan plan(a, limit, workspace);
  forward(plan.arguments, execution, plan.limit, workspace + plan.cursor.used());
  backward(plan.arguments, execution, plan.limit, workspace + plan.cursor.used());
}

size_t forwardBytes(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  return planForward(a, threads, limit).bytes;
}

size_t backwardBytes(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  return GradientPlan(a, false, threads, limit).bytes;
}

size_t lossAndGradientBytes(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  if (isFused(a, threads, limit)) return GradientPlan(a, true, threads, limit).bytes;
  const RecomputePlan plan(a, limit, nullptr);
  return plan.cursor.used() + std::max(forwardBytes(a, threads, plan.limit), backwardBytes(a, threads, plan.limit));
}

}  // namespace

const CutCrossEntropyKernels cutCrossEntropyKernels = {forwardBytes, backwardBytes, lossAndGradientBytes,
                                                       forward,      backward,      lossAndGradient};

}  // namespace fk::cpu::FK_ISA
