using System.Runtime.InteropServices;

namespace FusedKernels;

/// <summary>
/// What the filters of <see cref="CutCrossEntropyOptions"/> left out of the gradients, and a bound on the error. A
/// micro-tile is one class by a lane panel of rows for dEmbeddings, and one row by a panel of classes for dClassifier (32
/// rows and 14 classes with AVX-512). Nothing is left out of an exact product.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct FilterReport
{
    // The layout is fk_filter_report's: the library fills the value in place.
    internal uint StructSize { get; init; }

    internal uint Reserved { get; init; }

    /// <summary>Micro-tiles of the product that gives dEmbeddings.</summary>
    public long DEmbeddingsTiles { get; init; }

    /// <summary>How many of them were left out.</summary>
    public long DEmbeddingsTilesSkipped { get; init; }

    /// <summary>Micro-tiles of the product that gives dClassifier.</summary>
    public long DClassifierTiles { get; init; }

    /// <summary>How many of them were left out.</summary>
    public long DClassifierTilesSkipped { get; init; }

    /// <summary>A bound on the Frobenius norm of the error of dEmbeddings: the sum of the |dScore| left out times the
    /// largest norm of a classifier row.</summary>
    public double DEmbeddingsError { get; init; }

    /// <summary>A bound on the Frobenius norm of the error of dClassifier: the sum of the |dScore| left out times the
    /// largest norm of an embedding row.</summary>
    public double DClassifierError { get; init; }

    /// <summary>The largest element of <see cref="CutCrossEntropyTensors.DroppedProbability"/>, whether that was asked for
    /// or not.</summary>
    public double MaxDroppedProbability { get; init; }
}
