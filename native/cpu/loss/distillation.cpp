// Distillation as an operator on the streaming engine: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.
//
//   forward     one sweep over pairs of score tiles, the student's and the teacher's. With z = score / temperature, a row
//               remembers the running maximum m and sum S of exp(z - m) of both, and the difference that the teacher sees,
//               W = sum exp(zTeacher - mTeacher) (zTeacher - zStudent). Then
//                   KL(teacher || student) = W / STeacher - (mTeacher - mStudent) - log(STeacher / SStudent).
//               Equal models give exactly 0. The log-sum-exps themselves are never subtracted: their rounding grows with the
//               level of the scores and would drown a small divergence.
//   backward    both tiles again from the saved log-sum-exps: dScore = temperature (pStudent - pTeacher) per unit of loss.
//
// Each pass costs the scores of both models, the backward the student's two gradient products besides.
#include "cpu/loss/distillation.h"

#include "cpu/engine/backward-inl.h"
#include "cpu/engine/online_softmax-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

constexpr int64_t kBlockRows = 1024;
constexpr int64_t kBackwardWindow = 4 * kWindowStep;

struct Distillation {
  struct Panel {
    OnlineSoftmax student, teacher;
    alignas(64) float difference[kLanePanel];  // W, of scores before the temperature divides them
  };

  float inverseTemperature;
  // backward: of the current row block, from firstRow on
  const float* studentLogSumExp = nullptr;
  const float* teacherLogSumExp = nullptr;
  const float* gradientScale = nullptr;  // d(loss) / d(score) per unit of pStudent - pTeacher
  int64_t firstRow = 0;

  Range visible(Range, Range columns) const { return columns; }

  void begin(Panel& panel, Range) const {
    panel.student.begin();
    panel.teacher.begin();
    std::fill_n(panel.difference, kLanePanel, 0.0f);
  }

  void fold(Panel& panel, const ScoreTile& student, float* teacher) const {
    const FloatTag d;
    const int64_t columns = student.columns.size();
    panel.student.fold<false>(student.scores, columns, inverseTemperature);
    for (int64_t i = 0; i < columns * kLanePanel; i += kLanes)
      hn::Store(hn::Sub(hn::Load(d, teacher + i), hn::Load(d, student.scores + i)), d, student.scores + i);

    alignas(64) float rescale[kLanePanel];
    panel.teacher.fold<true>(teacher, columns, inverseTemperature, rescale);
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      FloatVector sum = hn::Zero(d);
      for (int64_t i = half; i < columns * kLanePanel; i += kLanePanel) {
        // A class of weight 0 adds nothing, were its score -inf; the NaN of a weight stays.
        const FloatVector weight = hn::Load(d, teacher + i);
        const FloatVector seen = hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Load(d, student.scores + i));
        sum = hn::MulAdd(weight, seen, sum);
      }
      float* difference = panel.difference + half;
      hn::Store(hn::MulAdd(hn::Load(d, difference), hn::Load(d, rescale + half), sum), d, difference);
    }
  }

  void merge(Panel& panel, const Panel& later) const {
    const FloatTag d;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector max = hn::Load(d, panel.teacher.max + half), laterMax = hn::Load(d, later.teacher.max + half);
      const FloatVector shift = OnlineSoftmax::finiteShift(hn::Max(max, laterMax));
      const FloatVector first = hn::Mul(hn::Load(d, panel.difference + half), ExpBelowOverflow(d, hn::Sub(max, shift)));
      const FloatVector laterFactor = ExpBelowOverflow(d, hn::Sub(laterMax, shift));
      hn::Store(hn::MulAdd(hn::Load(d, later.difference + half), laterFactor, first), d, panel.difference + half);
    }
    panel.student.merge(later.student);
    panel.teacher.merge(later.teacher);
  }

  // KL(teacher || student) per lane.
  void divergence(const Panel& panel, float* result) const {
    const FloatTag d;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector studentSum = hn::Load(d, panel.student.sum + half);
      const FloatVector teacherSum = hn::Load(d, panel.teacher.sum + half);
      const FloatVector maxima = hn::Sub(hn::Load(d, panel.teacher.max + half), hn::Load(d, panel.student.max + half));
      const FloatVector mean =
          hn::Mul(hn::Set(d, inverseTemperature), hn::Div(hn::Load(d, panel.difference + half), teacherSum));
      hn::Store(hn::Sub(hn::Sub(mean, maxima), Log(d, hn::Div(teacherSum, studentSum))), d, result + half);
    }
  }

  // Exactly 0 where gradientScale is, even if the scores are NaN.
  void gradient(const ScoreTile& student, float* teacher) const {
    const FloatTag d;
    const FloatVector scale = hn::Set(d, inverseTemperature);
    const int64_t row = student.rows.begin - firstRow;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector rowScale = hn::LoadU(d, gradientScale + row + half);
      const FloatVector studentShift = hn::LoadU(d, studentLogSumExp + row + half);
      const FloatVector teacherShift = hn::LoadU(d, teacherLogSumExp + row + half);
      const auto unscaled = hn::Eq(rowScale, hn::Zero(d));
      for (int64_t i = half; i < student.columns.size() * kLanePanel; i += kLanePanel) {
        const FloatVector p = ExpBelowOverflow(d, hn::MulSub(scale, hn::Load(d, student.scores + i), studentShift));
        const FloatVector q = ExpBelowOverflow(d, hn::MulSub(scale, hn::Load(d, teacher + i), teacherShift));
        hn::Store(hn::IfThenZeroElse(unscaled, hn::Mul(rowScale, hn::Sub(p, q))), d, teacher + i);
      }
    }
  }
};

using Panel = Distillation::Panel;

Distillation makeOp(const DistillationArguments& a) { return {1.0f / a.temperature}; }

// What a row's loss counts in the reported one: its weight, over the sum of all for the mean. Rows are added in order.
class RowShares {
 public:
  explicit RowShares(const DistillationArguments& a) : a_(a) {
    if (a.reduction != FK_REDUCTION_MEAN) return;
    double sum = 0;
    for (int64_t row = 0; row < a.rows(); ++row) sum += a.rowWeight(row);
    scale_ = sum == 0 ? 0 : 1 / sum;
  }

  double operator[](int64_t row) const { return scale_ * a_.rowWeight(row); }

 private:
  const DistillationArguments& a_;
  double scale_ = 1;
};

// Turns the panels of a row block into losses and log-sum-exps. The loss is added up in double, rows ascending.
class LossSum {
 public:
  explicit LossSum(const DistillationArguments& a) : a_(a), shares_(a) {}

  void add(const Distillation& op, const PackedRows& x, const Panel* panels) {
    for (int64_t p = 0; p < x.panels(); ++p) {
      alignas(64) float divergence[kLanePanel], student[kLanePanel], teacher[kLanePanel];
      op.divergence(panels[p], divergence);
      panels[p].student.logSumExp(student);
      panels[p].teacher.logSumExp(teacher);
      const Range rows = x.rowsOf(p);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const int64_t lane = row - rows.begin;
        const double loss = rowLoss(row, divergence[lane]);
        if (a_.reduction == FK_REDUCTION_NONE) a_.loss[row] = static_cast<float>(loss);
        sum_ += loss;
        if (a_.studentLogSumExp) a_.studentLogSumExp[row] = student[lane];
        if (a_.teacherLogSumExp) a_.teacherLogSumExp[row] = teacher[lane];
      }
    }
  }

  void finish() const {
    if (a_.reduction != FK_REDUCTION_NONE) a_.loss[0] = static_cast<float>(sum_);
  }

 private:
  // A divergence is never negative (Gibbs' inequality), its rounding errors may be. Without classes there is none.
  double rowLoss(int64_t row, float divergence) const {
    if (shares_[row] == 0 || a_.classes() == 0) return 0;
    const double temperature = a_.temperature;
    return shares_[row] * temperature * temperature * (divergence < 0 ? 0 : divergence);
  }

  const DistillationArguments& a_;
  RowShares shares_;
  double sum_ = 0;
};

struct ForwardBuffers {
  ForwardBuffers(WorkspaceCursor& cursor, const DistillationArguments& a, int64_t rows, int threads)
      : panels(cursor.take<Panel>(lanePanelCount(rows))),
        partials(cursor.take<Panel>(lanePanelCount(rows) * ColumnChunks(a.classes()).count)),
        student(cursor.take<float>(lanePanelFloats(rows, a.studentEmbeddings.columns))),
        teacher(cursor.take<float>(lanePanelFloats(rows, a.teacherEmbeddings.columns))),
        teacherScores(cursor.take<float>(PairedScores::floats(lanePanelCount(rows), threads))),
        tiles(cursor, threads, lanePanelCount(rows), a.studentEmbeddings.columns) {}

  Panel *panels, *partials;
  float *student, *teacher, *teacherScores;
  TileScratches tiles;
};

RowPlan planForward(const DistillationArguments& a, int threads, size_t limit) {
  return {a.rows(), kBlockRows, limit, [&](int64_t rows) {
            WorkspaceCursor measure;
            ForwardBuffers(measure, a, rows, threads);
            return measure.used();
          }};
}

void forward(const DistillationArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  const RowPlan plan = planForward(a, execution.threads, limit);
  WorkspaceCursor cursor(workspace);
  const ForwardBuffers buffers(cursor, a, plan.rows, execution.threads);
  const Distillation op = makeOp(a);
  LossSum loss(a);
  for (int64_t first = 0; first < a.rows(); first += plan.rows) {
    const Range rows{first, std::min(first + plan.rows, a.rows())};
    const PackedRows student{buffers.student, rows, a.studentEmbeddings.columns};
    const PackedRows teacher{buffers.teacher, rows, a.teacherEmbeddings.columns};
    packLanePanels(rowsOf(a.studentEmbeddings, first, rows.size()), buffers.student, execution);
    packLanePanels(rowsOf(a.teacherEmbeddings, first, rows.size()), buffers.teacher, execution);
    reduceRowPairs(op, student, a.studentClassifier, {teacher, a.teacherClassifier, buffers.teacherScores}, buffers.panels,
                   buffers.partials, buffers.tiles, execution);
    loss.add(op, student, buffers.panels);
  }
  loss.finish();
}

struct BackwardPlan {
  BackwardPlan(const DistillationArguments& a, int threads, size_t limit)
      : rows(rowsPerBlock(a.rows(), kBlockRows)), window(kBackwardWindow) {
    while (true) {
      WorkspaceCursor measure;
      take(measure, a, threads);
      bytes = measure.used();
      if (bytes <= limit) return;
      if (window > kWindowStep)
        window = ceilDivide(window / 2, kWindowStep) * kWindowStep;
      else if (rows > kDepthBlock)
        rows = ceilDivide(rows / 2, kDepthBlock) * kDepthBlock;
      else
        return;
    }
  }

  struct Buffers {
    BackwardSweep sweep;
    float *studentLogSumExp, *teacherLogSumExp, *gradientScale;
  };
  Buffers take(WorkspaceCursor& cursor, const DistillationArguments& a, int threads) const {
    BackwardSweep sweep({.x = a.studentEmbeddings,
                         .y = a.studentClassifier,
                         .dX = a.dStudentEmbeddings,
                         .dY = a.dStudentClassifier,
                         .second = SecondPair::kScoresOnly,
                         .dZ = a.teacherEmbeddings,
                         .w = a.teacherClassifier},
                        rows, window);
    sweep.takeWorkspace(cursor, threads);
    const int64_t lanes = lanePanelCount(std::min(rows, a.rows())) * kLanePanel;
    return {sweep, cursor.take<float>(lanes), cursor.take<float>(lanes), cursor.take<float>(lanes)};
  }

  int64_t rows, window;
  size_t bytes;
};

// Zeros for rows without weight and for padding: their log-sum-exps may be anything.
void fillRows(const DistillationArguments& a, const RowShares& shares, Range block, const BackwardPlan::Buffers& buffers) {
  for (float* values : {buffers.studentLogSumExp, buffers.teacherLogSumExp, buffers.gradientScale})
    std::fill_n(values, lanePanelCount(block.size()) * kLanePanel, 0.0f);
  for (int64_t row = block.begin; row < block.end; ++row) {
    const int64_t at = row - block.begin;
    if (shares[row] == 0) continue;
    buffers.gradientScale[at] = static_cast<float>(shares[row] * a.temperature * a.upstream(row));
    buffers.studentLogSumExp[at] = a.studentLogSumExp[row];
    buffers.teacherLogSumExp[at] = a.teacherLogSumExp[row];
  }
}

void backward(const DistillationArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  const BackwardPlan plan(a, execution.threads, limit);
  WorkspaceCursor cursor(workspace);
  BackwardPlan::Buffers buffers = plan.take(cursor, a, execution.threads);
  const RowShares shares(a);
  Distillation op = makeOp(a);
  op.studentLogSumExp = buffers.studentLogSumExp;
  op.teacherLogSumExp = buffers.teacherLogSumExp;
  op.gradientScale = buffers.gradientScale;
  for (int64_t index = 0; index < buffers.sweep.blocks(); ++index) {
    const Range block = buffers.sweep.block(index);
    fillRows(a, shares, block, buffers);
    op.firstRow = block.begin;
    buffers.sweep.begin(block, execution, [&](int64_t row) { return buffers.gradientScale[row - block.begin] == 0; });
    buffers.sweep.run(op, false, execution);
  }
}

size_t forwardBytes(const DistillationArguments& a, int threads, size_t limit) {
  return planForward(a, threads, limit).bytes;
}

size_t backwardBytes(const DistillationArguments& a, int threads, size_t limit) {
  return BackwardPlan(a, threads, limit).bytes;
}

}  // namespace

const DistillationKernels distillationKernels = {forwardBytes, backwardBytes, forward, backward};

}  // namespace fk::cpu::FK_ISA
