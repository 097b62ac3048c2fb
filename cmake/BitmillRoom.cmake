# A room is a folder of src/ with one purpose; it may use only the rooms named behind USES (arrows go down only).
#   bitmill_room(NAME SOURCES file.c ... USES room ... [LIBRARIES target ...])
# defines the object library bm_NAME. libbitmill is made of all rooms but cli.
define_property(GLOBAL PROPERTY BITMILL_ROOMS BRIEF_DOCS "rooms in libbitmill")
function(bitmill_room name)
    cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
    add_library(bm_${name} STATIC ${ROOM_SOURCES})
    target_include_directories(bm_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include
                                                 ${CMAKE_BINARY_DIR}/generated)
    foreach(room ${ROOM_USES})
        target_link_libraries(bm_${name} PUBLIC bm_${room})
    endforeach()
    target_link_libraries(bm_${name} PUBLIC ${ROOM_LIBRARIES})
    set_property(GLOBAL APPEND PROPERTY BITMILL_ROOMS bm_${name})
endfunction()

# bitmill_test(NAME SOURCES ... USES room ... [LABELS ...]): one cmocka program, registered with ctest as NAME.
# Exit status 77 is a skip (absent hardware or data).
function(bitmill_test name)
    cmake_parse_arguments(TEST "" "" "SOURCES;USES;LABELS;ARGS" ${ARGN})
    add_executable(${name} ${TEST_SOURCES})
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    foreach(room ${TEST_USES})
        target_link_libraries(${name} PRIVATE bm_${room})
    endforeach()
    target_link_libraries(${name} PRIVATE bitmill_cmocka)
    target_compile_definitions(${name} PRIVATE BM_SOURCE_DIR="${CMAKE_SOURCE_DIR}" BM_BINARY_DIR="${CMAKE_BINARY_DIR}")
    add_test(NAME ${name} COMMAND ${name} ${TEST_ARGS})
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 LABELS "${TEST_LABELS}")
endfunction()
