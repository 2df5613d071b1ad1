// Test classes are independent of each other: every test makes its own contexts. Tests that watch timing or the process's
// state say [DoNotParallelize].
[assembly: Parallelize(Scope = ExecutionScope.ClassLevel)]
