# libbitmill: all rooms in one library, its headers, pkg-config and CMake package files.
include(CMakePackageConfigHelpers)
get_property(rooms GLOBAL PROPERTY BITMILL_ROOMS)
set(objects "")
foreach(room ${rooms})
    list(APPEND objects $<TARGET_OBJECTS:${room}>)
endforeach()
add_library(libbitmill ${objects})
set_target_properties(libbitmill PROPERTIES OUTPUT_NAME bitmill LINKER_LANGUAGE C VERSION ${PROJECT_VERSION}
                                            SOVERSION ${PROJECT_VERSION_MAJOR})
target_include_directories(libbitmill INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
                                                $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
if(WIN32)
    return() # compiled for portability; linking there comes later
endif()
target_link_libraries(libbitmill PUBLIC cjson pcre2-8 utf8proc pthread m ${CMAKE_DL_LIBS})

install(TARGETS libbitmill EXPORT bitmillTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/bitmill DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT bitmillTargets NAMESPACE bitmill:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/bitmill)
configure_package_config_file(cmake/bitmillConfig.cmake.in ${CMAKE_BINARY_DIR}/bitmillConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/bitmill)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/bitmillConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/bitmillConfig.cmake ${CMAKE_BINARY_DIR}/bitmillConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/bitmill)
file(RELATIVE_PATH PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/") # wherever the files are moved
configure_file(cmake/bitmill.pc.in ${CMAKE_BINARY_DIR}/bitmill.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/bitmill.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES docs/bitmill.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
# The calibration set that a run without data takes, and the small model of the tour.
install(DIRECTORY examples/data examples/model DESTINATION ${CMAKE_INSTALL_DATADIR}/bitmill)
