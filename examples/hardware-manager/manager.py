#!/usr/bin/env python3
"""A hardware manager that is a program of its own: what a vendor would write, in Python.

It offers the steps of main.rs beside this file and touches nothing. docs/hardware-managers.md
explains the rules. Needs grpcio, and the modules that are generated from proto/:

    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. \\
        proto/ironic/agent/v1/*.proto
"""

import argparse
import sys
import time
from concurrent import futures

import grpc
from google.protobuf import json_format

from ironic.agent.v1 import command_pb2
from ironic.agent.v1 import hardware_manager_service_pb2 as pb
from ironic.agent.v1 import hardware_manager_service_pb2_grpc as pb_grpc

BLOCK_TIME = 0.01  # seconds


class PythonExampleManager(pb_grpc.HardwareManagerServiceServicer):

    def Describe(self, request, context):
        check = pb.StepDescription(
            name="python_check_memory",
            arguments=[pb.StepArgument(
                name="minimum_mib", required=True,
                description="How much memory there must be at least.")],
            offers=[pb.StepOffer(phase=command_pb2.STEP_PHASE_CLEAN, priority=0),
                    pb.StepOffer(phase=command_pb2.STEP_PHASE_DEPLOY, priority=0)])
        update = pb.StepDescription(
            name="python_update_firmware", reboot_requested=True,
            arguments=[
                pb.StepArgument(
                    name="version", required=True, kind=pb.ARGUMENT_KIND_TEXT,
                    description="The version to install."),
                pb.StepArgument(
                    name="blocks",
                    description="How many blocks it has; 10 when not given.")],
            offers=[pb.StepOffer(phase=command_pb2.STEP_PHASE_CLEAN, priority=15,
                                 abortable=False)])
        update.deadline.FromSeconds(600)
        # Part of the agent's erase_devices: Ironic does not hear of it.
        erase = pb.StepDescription(name="erase_block_device")
        return pb.DescribeResponse(
            class_name="PythonExampleManager", version="2.1", support=3,
            steps=[check, update, erase])

    def PlanStep(self, request, context):
        order = request.order
        response = pb.PlanStepResponse()
        if order.name == "erase_block_device" and not is_own(order):
            response.failure.kind = "IncompatibleHardwareMethodError"
            response.failure.details = "another vendor's disk"
            return response
        arguments = json_format.MessageToDict(order.arguments)
        response.plan.actions.add(description={
            "python_check_memory": "Compare the machine's memory with the minimum",
            "python_update_firmware":
                f"Install firmware {arguments.get('version')} on the example card",
            "erase_block_device": "Forget the key",
        }[order.name])
        return response

    def ExecuteStep(self, request, context):
        arguments = json_format.MessageToDict(request.order.arguments)
        if request.order.name == "python_check_memory":
            yield from check_memory(arguments)
        elif request.order.name == "python_update_firmware":
            yield from update_firmware(arguments, context)
        elif request.order.name == "erase_block_device":
            response = pb.ExecuteStepResponse()
            if is_own(request.order):
                response.result.string_value = "the key is forgotten"
            else:
                response.incompatible = "another vendor's disk"
            yield response
        else:
            yield failure("", f"there is no step {request.order.name}")


def is_own(order):
    """Whether the disk is one of ours, by what the agent tells of it."""
    return json_format.MessageToDict(order.arguments)["device"]["name"].endswith("/python-disk")


def check_memory(arguments):
    with open("/proc/meminfo") as meminfo:
        mib = int(meminfo.readline().split()[1]) // 1024
    if mib < arguments["minimum_mib"]:
        yield failure(
            "", f"{mib} MiB of memory are less than {arguments['minimum_mib']:.0f} MiB")
        return
    response = pb.ExecuteStepResponse()
    response.result.number_value = mib
    yield response


def update_firmware(arguments, context):
    for block in range(int(arguments.get("blocks", 10))):
        time.sleep(BLOCK_TIME)
        if not context.is_active():  # the agent has cancelled the call
            return
        response = pb.ExecuteStepResponse()
        response.progress.phase = "flash"
        response.progress.unit = "blocks"
        response.progress.subject = "example card"
        response.progress.done = block + 1
        yield response
    yield pb.ExecuteStepResponse(phase_ended="the card is written")
    response = pb.ExecuteStepResponse()
    response.result.string_value = f"firmware {arguments['version']} is installed"
    yield response


def failure(kind, details):
    response = pb.ExecuteStepResponse()
    response.failure.kind = kind
    response.failure.details = details
    return response


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    socket = parser.parse_args().socket
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    pb_grpc.add_HardwareManagerServiceServicer_to_server(PythonExampleManager(), server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    # The agent holds standard input open: its end is the agent's end.
    sys.stdin.read()
    server.stop(grace=None)


if __name__ == "__main__":
    main()
