// Which keys a query sees: a band of positions (causal, windows), a prefix, segments and masks. Bands, prefixes, segments
// and block masks skip the scores of keys that no query of a panel sees; the rest is hidden score by score.
#pragma once

#include "cpu/attention/sequence.h"
#include "cpu/engine/online_softmax-inl.h"

namespace fk::cpu::FK_ISA {

class Visibility {
 public:
  Visibility(const AttentionArguments& a, const Sequence& s, int64_t h) : a_(a), s_(s), h_(h) {
    if (a.windowLeft >= 0) behind_ = a.windowLeft;
    if (a.windowRight >= 0) ahead_ = a.windowRight;
    if (a.causal) ahead_ = 0;
  }

  // Of these columns, from the first to the last that any of the rows may see.
  Range visible(Range rows, Range columns) const {
    const Range band = bandOf(rows);
    Range seen = columns.intersect(band);
    if (s_.prefix > 0) seen = hull(columns.intersect({0, s_.prefix}), seen);
    if (a_.querySegments) seen = withinSegments(rows, seen);
    if (a_.blockMask) seen = withoutHiddenBlocks(rows, seen);
    return seen;
  }

  // Keys that the band and the prefix leave to a query.
  int64_t keysOf(int64_t query) const {
    const Range band = bandOf({query, query + 1});
    return s_.prefix + std::max<int64_t>(0, band.end - std::max(band.begin, s_.prefix));
  }

  // Whether the band hides any score of the tile.
  bool cuts(const ScoreTile& tile) const {
    if (tile.columns.end <= s_.prefix) return false;
    return tile.columns.begin < s_.position + tile.rows.end - 1 - behind_ ||
           tile.columns.end - 1 > s_.position + tile.rows.begin + ahead_;
  }

  bool hasMasks() const { return a_.querySegments || a_.mask || a_.blockMask; }

  // Scales the scores and sets those outside the band to -inf.
  void hideOutsideBand(const ScoreTile& tile, float scale) const {
    const FloatTag d;
    const FloatVector vScale = hn::Set(d, scale), hidden = hn::Set(d, kMinusInfinity);
    const auto firstLanes = [&](int64_t count, int64_t half) {
      return hn::FirstN(d, static_cast<size_t>(std::clamp<int64_t>(count - half, 0, kLanes)));
    };
    for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column) {
      float* at = tile.scores + (column - tile.columns.begin) * kLanePanel;
      const int64_t lane = column - s_.position - tile.rows.begin;  // that is at the column's position
      const bool seenByAll = column < s_.prefix;
      const int64_t first = seenByAll ? 0 : std::clamp<int64_t>(lane - ahead_, 0, kLanePanel);
      const int64_t end = seenByAll ? kLanePanel : std::clamp<int64_t>(lane + behind_ + 1, first, kLanePanel);
      for (int64_t half = 0; half < kLanePanel; half += kLanes) {
        const FloatVector scaled = hn::Mul(vScale, hn::Load(d, at + half));
        const FloatVector seen = hn::IfThenElse(firstLanes(end, half), scaled, hidden);
        hn::Store(hn::IfThenElse(firstLanes(first, half), hidden, seen), d, at + half);
      }
    }
  }

  void hideMasked(const ScoreTile& tile) const {
    if (a_.mask) hideUnless(tile, [&](int64_t i, int64_t j) { return *a_.mask.at(s_.item, h_, i, j) != 0; });
    if (a_.querySegments) hideUnless(tile, [&](int64_t i, int64_t j) { return querySegment(i) == keySegment(j); });
    if (a_.blockMask)
      hideUnless(tile, [&](int64_t i, int64_t j) { return blockIsVisible(i / a_.maskBlockRows, j / a_.maskBlockColumns); });
  }

 private:
  static constexpr int64_t kUnlimited = int64_t{1} << 60;

  Range bandOf(Range rows) const {
    return {std::max<int64_t>(0, s_.position + rows.begin - behind_), std::min(s_.keys, s_.position + rows.end + ahead_)};
  }

  static Range hull(Range a, Range b) {
    if (a.empty()) return b;
    if (b.empty()) return a;
    return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
  }

  // Indices along the arrays' axes.
  int32_t querySegment(int64_t i) const { return *a_.querySegments.at(s_.item, 0, i); }
  int32_t keySegment(int64_t j) const { return *a_.keySegments.at(s_.item, 0, 0, j); }
  bool blockIsVisible(int64_t row, int64_t column) const { return *a_.blockMask.at(s_.item, h_, row, column) != 0; }

  // Columns outside the rows' range of segments are dropped at both ends: exact where segments ascend.
  Range withinSegments(Range rows, Range columns) const {
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      least = std::min(least, querySegment(s_.firstQuery + i));
      most = std::max(most, querySegment(s_.firstQuery + i));
    }
    const auto isOutside = [&](int64_t column) {
      const int32_t segment = keySegment(s_.firstKey + column);
      return segment < least || segment > most;
    };
    while (!columns.empty() && isOutside(columns.begin)) ++columns.begin;
    while (!columns.empty() && isOutside(columns.end - 1)) --columns.end;
    return columns;
  }

  Range withoutHiddenBlocks(Range rows, Range columns) const {
    const int64_t size = a_.maskBlockColumns;
    const Range blockRows{(s_.firstQuery + rows.begin) / a_.maskBlockRows,
                          (s_.firstQuery + rows.end - 1) / a_.maskBlockRows + 1};
    const auto isHidden = [&](int64_t block) {
      for (int64_t row = blockRows.begin; row < blockRows.end; ++row)
        if (blockIsVisible(row, block)) return false;
      return true;
    };
    const auto blockOf = [&](int64_t column) { return (s_.firstKey + column) / size; };
    while (!columns.empty() && isHidden(blockOf(columns.begin)))
      columns.begin = (blockOf(columns.begin) + 1) * size - s_.firstKey;
    while (!columns.empty() && isHidden(blockOf(columns.end - 1)))
      columns.end = blockOf(columns.end - 1) * size - s_.firstKey;
    return columns;
  }

  // isVisible(i, j) along the arrays' axes.
  template <class IsVisible>
  void hideUnless(const ScoreTile& tile, const IsVisible& isVisible) const {
    for (int64_t row = tile.rows.begin; row < tile.rows.end; ++row) {
      float* at = tile.scores + row - tile.rows.begin;
      for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column, at += kLanePanel)
        if (!isVisible(s_.firstQuery + row, s_.firstKey + column)) *at = kMinusInfinity;
    }
  }

  const AttentionArguments& a_;
  Sequence s_;
  int64_t h_;
  int64_t behind_ = kUnlimited, ahead_ = kUnlimited;
};

}  // namespace fk::cpu::FK_ISA
