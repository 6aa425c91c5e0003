// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// Checks of starting (id policies; request ids that make a repeated call harmless), of ending a
// workflow from outside, and of describing one.
func init() {
	register(map[string]func(*check){
		"id_conflict_fail":               idConflictFail,
		"id_conflict_use_existing":       idConflictUseExisting,
		"id_conflict_terminate_existing": idConflictTerminateExisting,
		"id_reuse_allow":                 idReuseAllow,
		"id_reuse_reject":                idReuseReject,
		"id_reuse_failed_only":           idReuseFailedOnly,
		"start_request_id":               startRequestID,
		"signal_request_id":              signalRequestID,
		"workflow_cancel":                workflowCancel,
		"workflow_cancel_caught":         workflowCancelCaught,
		"cancel_closed":                  cancelClosed,
		"terminate":                      terminate,
		"describe_workflow":              describeWorkflow,
		"result_long_poll":               resultLongPoll,
	})
}

func payloads(values ...any) *commonpb.Payloads {
	all := &commonpb.Payloads{}
	for _, value := range values {
		all.Payloads = append(all.Payloads, &commonpb.Payload{
			Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: need(json.Marshal(value))})
	}
	return all
}

// refused tries a start that must fail because the id is taken, and gives the error's run.
func (k *check) refused(opts startOptions, steps ...step) string {
	_, err := k.tryStart("", opts, steps...)
	return raised[*serviceerror.WorkflowExecutionAlreadyStarted](err).RunId
}

func idConflictFail(k *check) {
	first := k.start(waitFor(1))
	for _, policy := range []enumspb.WorkflowIdConflictPolicy{
		enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED, enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
	} {
		opts := startOptions{WorkflowIDConflictPolicy: policy}
		equal("run in the error", k.refused(opts, waitFor(1)), first.GetRunID())
	}
	k.note(first, "still there")
	equal("notes", k.result(first).Notes, []any{"still there"})
}

func idConflictUseExisting(k *check) {
	first := k.start(waitFor(1))
	opts := startOptions{WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING}
	second := k.startWith("", opts, waitFor(1))
	equal("run", second.GetRunID(), first.GetRunID())
	k.note(second, 1)
	equal("notes", k.result(first).Notes, []any{1})
}

func idConflictTerminateExisting(k *check) {
	first := k.start(waitFor(1))
	opts := startOptions{WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING}
	second := k.startWith("", opts, waitFor(1))
	yes("another run", second.GetRunID() != first.GetRunID())
	equal("kind", k.failure(first)["kind"], "terminated")
	k.note(second, 2)
	equal("notes", k.result(second).Notes, []any{2})
}

func idReuseAllow(k *check) {
	first := k.start()
	k.result(first)
	firstRun := first.GetRunID()
	second := k.start()
	k.result(second)
	yes("another run", second.GetRunID() != firstRun)
	equal("the first is still there", k.status("", firstRun), "Completed")
}

func idReuseReject(k *check) {
	first := k.start()
	k.result(first)
	opts := startOptions{WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE}
	equal("run in the error", k.refused(opts), first.GetRunID())
}

func idReuseFailedOnly(k *check) {
	opts := startOptions{WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY}
	first := k.start(step{Op: "fail", Type: "X", Message: "x"})
	k.failure(first)
	second := k.startWith("", opts)
	k.result(second)
	yes("another run after a failure", second.GetRunID() != first.GetRunID())
	equal("run in the error", k.refused(opts), second.GetRunID())
}

// A start that is repeated with its request id answers with the run it made.
func startRequestID(k *check) {
	request := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: k.namespace, WorkflowId: k.prefix,
		WorkflowType: &commonpb.WorkflowType{Name: "Script"},
		TaskQueue:    &taskqueuepb.TaskQueue{Name: k.queue},
		Input:        payloads(scriptArg{[]step{waitFor(1)}}),
		RequestId:    uuid.NewString(), Identity: "repeater",
	}
	first := need(k.c.WorkflowService().StartWorkflowExecution(k.ctx, request))
	second := need(k.c.WorkflowService().StartWorkflowExecution(k.ctx, request))
	equal("run", second.RunId, first.RunId)
	k.note(k.get(""), 0)
	k.result(k.get(""))
}

// A signal that is repeated with its request id arrives once.
func signalRequestID(k *check) {
	run := k.start(waitFor(2))
	request := &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: k.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: k.prefix},
		SignalName: "note", Input: payloads("once"), RequestId: uuid.NewString(), Identity: "repeater",
	}
	for range 3 {
		need(k.c.WorkflowService().SignalWorkflowExecution(k.ctx, request))
	}
	k.note(run, "end")
	equal("notes", k.result(run).Notes, []any{"once", "end"})
	equal("signals in history", count(k.history(run), "WorkflowExecutionSignaled"), 2)
}

// The workflow sees the request, cleans up with an activity, and ends as cancelled.
func workflowCancel(k *check) {
	run := k.start(step{Op: "untilCancel"})
	k.query(run)
	must(k.c.CancelWorkflow(k.ctx, k.prefix, ""))
	equal("kind", k.failure(run)["kind"], "canceled")
	equal("status", k.status("", ""), "Canceled")
	events := k.history(run)
	one(events, "WorkflowExecutionCancelRequested")
	one(events, "ActivityTaskCompleted")
	equal("last event", kinds(events)[len(events)-1], "WorkflowExecutionCanceled")
	equal("after the end", k.query(run).Results, []any{"cleaned up"})
}

// A workflow may take note of the request and complete nevertheless.
func workflowCancelCaught(k *check) {
	run := k.start(step{Op: "timer", Ms: 600_000, Catch: true})
	k.query(run)
	must(k.c.CancelWorkflow(k.ctx, k.prefix, ""))
	equal("kind", at(single(k.results(run)), "kind"), "canceled")
	events := k.history(run)
	one(events, "TimerCanceled")
	one(events, "WorkflowExecutionCompleted")
}

func cancelClosed(k *check) {
	k.run()
	must(k.c.CancelWorkflow(k.ctx, k.prefix, ""))
	equal("still", k.status("", ""), "Completed")
	notFound("missing", k.c.CancelWorkflow(k.ctx, k.prefix+"-missing", ""))
}

func terminate(k *check) {
	run := k.start(waitFor(1))
	must(k.c.TerminateWorkflow(k.ctx, k.prefix, "", "enough", m{"why": "test"}))
	equal("failure", k.failure(run)["kind"], "terminated")
	equal("status", k.status("", ""), "Terminated")
	event := one(k.history(run), "WorkflowExecutionTerminated").GetWorkflowExecutionTerminatedEventAttributes()
	equal("reason", event.Reason, "enough")
	equal("details", decode(event.Details), m{"why": "test"})
	notFound("second", k.c.TerminateWorkflow(k.ctx, k.prefix, "", ""))
}

func describeWorkflow(k *check) {
	run := k.start(waitFor(1))
	now := k.describeRun("", "")
	equal("status", now.Status.String(), "Running")
	equal("type", now.Type.Name, "Script")
	equal("task queue", now.TaskQueue, k.queue)
	equal("run", now.Execution.RunId, run.GetRunID())
	yes("no close time", now.CloseTime == nil)
	k.note(run, 0)
	k.result(run)
	now = k.describeRun("", "")
	equal("status", now.Status.String(), "Completed")
	equal("history length", now.HistoryLength, len(k.history(run)))
	yes("closed after it started", !now.CloseTime.AsTime().Before(now.StartTime.AsTime()))
	_, err := k.c.DescribeWorkflowExecution(k.ctx, k.prefix+"-missing", "")
	notFound("missing", err)
}

// Somebody waiting for the result gets it when it is there, across runs of a chain.
func resultLongPoll(k *check) {
	run := k.start(waitFor(1), step{Op: "continue", Steps: []step{waitFor(1)}})
	first := run.GetRunID()
	k.note(run, "go on")
	var state scriptState
	done := make(chan error, 1)
	go func() { done <- k.c.GetWorkflow(k.ctx, k.prefix, first).Get(k.ctx, &state) }()
	k.until(func() bool { return k.current("") != first })
	select {
	case err := <-done:
		fail("still waiting, not %v", err)
	case <-time.After(0):
	}
	k.note(k.get(""), "done")
	must(<-done)
	equal("notes", state.Notes, []any{"done"})
}
