#!/usr/bin/env python3
"""A hardware manager with one step, which writes down that it was executed. The agent starts it.

    manager.py --socket PATH

The file is named by EXECUTED in the environment.
"""

import argparse
import os
import sys
import time
from concurrent import futures

import grpc
from google.protobuf import json_format
from ironic.agent.v1 import command_pb2
from ironic.agent.v1 import hardware_manager_service_pb2 as pb
from ironic.agent.v1 import hardware_manager_service_pb2_grpc as pb_grpc


class NotingManager(pb_grpc.HardwareManagerServiceServicer):

    def Describe(self, request, context):
        step = pb.StepDescription(
            name="note_execution",
            arguments=[pb.StepArgument(name="order", required=True, kind=pb.ARGUMENT_KIND_TEXT, description="What to note."),
                       pb.StepArgument(name="seconds", required=True, description="How long it takes.")],
            offers=[pb.StepOffer(phase=command_pb2.STEP_PHASE_CLEAN, priority=0)])
        return pb.DescribeResponse(class_name="NotingManager", version="1", support=3, steps=[step])

    def ExecuteStep(self, request, context):
        arguments = json_format.MessageToDict(request.order.arguments)
        with open(os.environ["EXECUTED"], "a") as file:
            file.write(f"{arguments['order']}\n")
        time.sleep(arguments["seconds"])
        response = pb.ExecuteStepResponse()
        response.result.string_value = "noted"
        yield response


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    socket = parser.parse_args().socket
    server = grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_HardwareManagerServiceServicer_to_server(NotingManager(), server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    # It ends with the agent.
    sys.stdin.read()
    server.stop(0)


main()
