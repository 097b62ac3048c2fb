# Install rules are filled in beside the targets; see src/CMakeLists.txt.
