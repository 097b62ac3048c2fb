// Planted defect: work-items read what a neighbour writes to local memory, without a barrier. Oclgrind must say so.
// With the argument "sound" the barrier is there, and it must be silent. Exit status 0: the kernel ran.
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdio.h>
#include <string.h>

static const char *source = "kernel void neighbour(global int *out)\n"
                            "{\n"
                            "    local int shared[16];\n"
                            "    const int i = get_local_id(0);\n"
                            "    shared[i] = 0;\n"
                            "    barrier(CLK_LOCAL_MEM_FENCE);\n"
                            "    shared[i] = i;\n"
                            "    BARRIER\n"
                            "    out[i] = shared[(i + 1) % 16];\n"
                            "}\n";

int main(int argc, char **argv)
{
    const char *sound = "-cl-opt-disable -DBARRIER=barrier(CLK_LOCAL_MEM_FENCE);";
    const char *options = argc > 1 && strcmp(argv[1], "sound") == 0 ? sound : "-cl-opt-disable -DBARRIER=";
    const size_t size = 16;
    cl_platform_id platform;
    cl_device_id device;
    cl_int status = clGetPlatformIDs(1, &platform, NULL);
    if (status == CL_SUCCESS)
        status = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL);
    if (status != CL_SUCCESS) {
        fprintf(stderr, "no OpenCL device: %d\n", status);
        return 1;
    }
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &status);
    cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &status);
    status = clBuildProgram(program, 1, &device, options, NULL, NULL);
    if (status != CL_SUCCESS) {
        fprintf(stderr, "the kernel does not build: %d\n", status);
        return 1;
    }
    cl_kernel kernel = clCreateKernel(program, "neighbour", &status);
    cl_mem out = clCreateBuffer(context, CL_MEM_READ_WRITE, size * sizeof(cl_int), NULL, &status);
    clSetKernelArg(kernel, 0, sizeof(cl_mem), &out);
    status = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &size, &size, 0, NULL, NULL);
    if (status == CL_SUCCESS)
        status = clFinish(queue);
    clReleaseMemObject(out);
    clReleaseKernel(kernel);
    clReleaseProgram(program);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
    return status == CL_SUCCESS ? 0 : 1;
}
