// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"
)

// Checks of what a workflow can do: timers, children, chains, versions, long histories.
func init() {
	register(map[string]func(*check){
		"timer":                      timerCheck,
		"timer_cancel":               timerCancel,
		"workflow_failure":           workflowFailure,
		"workflow_retry":             workflowRetry,
		"workflow_retries_exhausted": workflowRetriesExhausted,
		"continue_as_new":            continueAsNew,
		"run_timeout":                runTimeout,
		"execution_timeout":          executionTimeout,
		"child_workflow":             childWorkflow,
		"child_close_policy":         childClosePolicy,
		"signal_external":            signalExternal,
		"version_marker":             versionMarker,
		"side_effect":                sideEffect,
		"long_history":               longHistory,
	})
}

func retryPolicy() *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: millis(100), BackoffCoefficient: 1, MaximumAttempts: 3}
}

func (k *check) describeRun(tail, run string) *workflowpb.WorkflowExecutionInfo {
	return need(k.c.DescribeWorkflowExecution(k.ctx, k.prefix+tail, run)).WorkflowExecutionInfo
}

func (k *check) status(tail, run string) string {
	return k.describeRun(tail, run).Status.String()
}

func (k *check) current(tail string) string {
	return k.describeRun(tail, "").Execution.RunId
}

func started(events []*historypb.HistoryEvent) *historypb.WorkflowExecutionStartedEventAttributes {
	return one(events, "WorkflowExecutionStarted").GetWorkflowExecutionStartedEventAttributes()
}

func timerCheck(k *check) {
	run := k.start(step{Op: "timer", Ms: 700})
	equal("result", k.results(run), []any{m{"fired": 700}})
	events := k.history(run)
	begun, fired := one(events, "TimerStarted"), one(events, "TimerFired")
	attributes := begun.GetTimerStartedEventAttributes()
	equal("duration", attributes.StartToFireTimeout.AsDuration().Milliseconds(), 700)
	equal("timer", fired.GetTimerFiredEventAttributes().TimerId, attributes.TimerId)
	took := fired.EventTime.AsTime().Sub(begun.EventTime.AsTime())
	yes(fmt.Sprintf("fires after its time, took %v", took), took >= millis(700) && took < 10*time.Second)
}

func timerCancel(k *check) {
	run := k.start(step{Op: "timerCancel", Ms: 600_000})
	k.until(func() bool { return has(k.history(run), "TimerStarted") })
	k.note(run, "go")
	equal("result", k.results(run), []any{m{"kind": "canceled", "details": []any{}}})
	events := k.history(run)
	equal("timer", one(events, "TimerCanceled").GetTimerCanceledEventAttributes().TimerId,
		one(events, "TimerStarted").GetTimerStartedEventAttributes().TimerId)
	yes("never fired", !has(events, "TimerFired"))
}

func workflowFailure(k *check) {
	run := k.start(step{Op: "fail", Type: "Broken", Message: "as told", Details: []any{m{"a": 1}},
		NonRetryable: true})
	equal("failure", k.failure(run), m{"kind": "application", "type": "Broken", "message": "as told",
		"details": []any{m{"a": 1}}, "nonRetryable": true})
	equal("status", k.status("", ""), "Failed")
}

func workflowRetry(k *check) {
	run := k.startWith("", startOptions{RetryPolicy: retryPolicy()}, step{Op: "failUntil", Attempt: 3})
	first := run.GetRunID()
	equal("result", k.results(run), []any{m{"attempt": 3}})
	equal("status of the first run", k.status("", first), "Failed")
	closed := one(k.events(k.prefix, first), "WorkflowExecutionFailed").GetWorkflowExecutionFailedEventAttributes()
	equal("retry state", closed.RetryState.String(), "InProgress")
	begun := started(k.events(k.prefix, closed.NewExecutionRunId))
	equal("attempt", begun.Attempt, 2)
	equal("continued from", begun.ContinuedExecutionRunId, first)
	equal("first run", begun.FirstExecutionRunId, first)
	equal("failure before", begun.ContinuedFailure.GetMessage(), "attempt 1 fails")
}

func workflowRetriesExhausted(k *check) {
	run := k.startWith("", startOptions{RetryPolicy: retryPolicy()}, step{Op: "failUntil", Attempt: 9})
	equal("message", k.failure(run)["message"], "attempt 3 fails")
	closed := one(k.events(k.prefix, k.current("")), "WorkflowExecutionFailed")
	equal("state", closed.GetWorkflowExecutionFailedEventAttributes().RetryState.String(),
		"MaximumAttemptsReached")
}

func continueAsNew(k *check) {
	middle := step{Op: "continue", Steps: []step{{Op: "timer", Ms: 1}}}
	opts := startOptions{Memo: m{"kept": []int{1, 2}}}
	handle := k.startWith("", opts, step{Op: "continue", Steps: []step{middle}})
	first := handle.GetRunID()
	equal("result", k.results(handle), []any{m{"fired": 1}})
	run, seen := first, map[string]bool{first: true}
	for range 2 {
		equal("status", k.status("", run), "ContinuedAsNew")
		closed := one(k.events(k.prefix, run), "WorkflowExecutionContinuedAsNew")
		next := closed.GetWorkflowExecutionContinuedAsNewEventAttributes().NewExecutionRunId
		begun := started(k.events(k.prefix, next))
		equal("continued from", begun.ContinuedExecutionRunId, run)
		equal("first run", begun.FirstExecutionRunId, first)
		run, seen[next] = next, true
	}
	equal("runs of the chain", len(seen), 3)
	now := k.describeRun("", "")
	equal("current run", []string{now.Execution.RunId, now.Status.String()}, []string{run, "Completed"})
	equal("memo", memoOf(now), m{"kept": []int{1, 2}})
}

func runTimeout(k *check) {
	run := k.startWith("", startOptions{WorkflowRunTimeout: millis(700)}, step{Op: "wait", N: 1})
	got := k.failure(run)
	equal("failure", []any{got["kind"], got["timeout"]}, []any{"timeout", "StartToClose"})
	equal("status", k.status("", ""), "TimedOut")
	one(k.history(run), "WorkflowExecutionTimedOut")
}

// Ends a chain of runs, none of which lasts as long as the limit.
func executionTimeout(k *check) {
	steps := []step{{Op: "wait", N: 1}}
	for range 3 {
		steps = []step{{Op: "timer", Ms: 300}, {Op: "continue", Steps: steps}}
	}
	run := k.startWith("", startOptions{WorkflowExecutionTimeout: millis(1500)}, steps...)
	first := run.GetRunID()
	got := k.failure(run)
	equal("failure", []any{got["kind"], got["timeout"]}, []any{"timeout", "StartToClose"})
	equal("status", k.status("", ""), "TimedOut")
	yes("it was a later run", k.current("") != first)
}

func childWorkflow(k *check) {
	failing := step{Op: "fail", Type: "Broken", Message: "child fails", NonRetryable: true}
	run := k.start(
		step{Op: "child", ID: k.prefix + "-good", Steps: []step{act("echo", m{"from": "child"})}},
		step{Op: "child", ID: k.prefix + "-bad", Steps: []step{failing}, Catch: true})
	got := k.results(run)
	equal("child's result", at(got[0], "results"), []any{m{"from": "child"}})
	equal("kind", []any{at(got[1], "kind"), at(got[1], "workflow")}, []any{"child", "Script"})
	equal("cause", []any{at(got[1], "cause", "type"), at(got[1], "cause", "message")},
		[]any{"Broken", "child fails"})
	events := k.history(run)
	one(events, "ChildWorkflowExecutionFailed")
	done := one(events, "ChildWorkflowExecutionCompleted").GetChildWorkflowExecutionCompletedEventAttributes()
	begun := started(k.events(k.prefix+"-good", done.WorkflowExecution.RunId))
	equal("parent", begun.ParentWorkflowExecution.WorkflowId, run.GetID())
	equal("parent's run", begun.ParentWorkflowExecution.RunId, run.GetRunID())
}

func childClosePolicy(k *check) {
	detached := func(tail, policy string) step {
		return step{Op: "child", ID: k.prefix + tail, Close: policy, Detach: true,
			Steps: []step{{Op: "wait", N: 1}}}
	}
	k.run(detached("-terminate", "TERMINATE"), detached("-abandon", "ABANDON"),
		detached("-cancel", "REQUEST_CANCEL"))
	equal("kind", k.failure(k.get("-terminate"))["kind"], "terminated")
	equal("kind", k.failure(k.get("-cancel"))["kind"], "canceled")
	k.note(k.get("-abandon"), "bye")
	equal("notes", k.result(k.get("-abandon")).Notes, []any{"bye"})
}

func signalExternal(k *check) {
	listener := k.startWith("-listener", startOptions{}, step{Op: "wait", N: 1})
	tell := step{Op: "tell", Value: m{"hello": 1}, Catch: true}
	good, bad := tell, tell
	good.ID, bad.ID = listener.GetID(), k.prefix+"-missing"
	run := k.start(good, bad)
	got := k.results(run)
	equal("told", got[0], "told")
	yes("a failure, not "+short(got[1]), got[1] != "told" && at(got[1], "kind") != "")
	equal("notes", k.result(listener).Notes, []any{m{"hello": 1}})
	events := k.history(run)
	one(events, "ExternalWorkflowExecutionSignaled")
	one(events, "SignalExternalWorkflowExecutionFailed")
}

// A version chosen once stays chosen in the replay for a query.
func versionMarker(k *check) {
	better := step{Op: "patch", ID: "better"}
	run := k.startWith("", startOptions{TaskQueue: k.nocache}, better, act("echo", "x"), better)
	equal("result", k.results(run), []any{1, "x", 1})
	one(k.history(run), "MarkerRecorded")
	equal("replayed", k.query(run).Results, []any{1, "x", 1})
}

// A random value stays what it was in the replay for a query.
func sideEffect(k *check) {
	side := step{Op: "side"}
	run := k.startWith("", startOptions{TaskQueue: k.nocache}, side, act("echo", "x"), side)
	got := k.results(run)
	yes("two different values", got[0] != got[2] && len(got[0].(string)) == 36 && len(got[2].(string)) == 36)
	equal("replayed", k.query(run).Results, got)
}

// Over 300 events without a cache: every workflow task replays everything, page by page.
func longHistory(k *check) {
	steps, want := []step{}, []any{}
	for i := range 55 {
		want = append(want, m{"i": i, "pad": strings.Repeat("x", 500)})
		steps = append(steps, act("echo", want[i]))
	}
	run := k.startWith("", startOptions{TaskQueue: k.nocache}, steps...)
	equal("result", k.results(run), want)
	events := k.history(run)
	yes(fmt.Sprintf("over 300 events, not %d", len(events)), len(events) > 300)
	inputs := []any{}
	for i, event := range events {
		equal("event id", event.EventId, i+1)
		if scheduled := event.GetActivityTaskScheduledEventAttributes(); scheduled != nil {
			inputs = append(inputs, decode(scheduled.Input))
		}
	}
	equal("inputs", inputs, want)
	yes("no workflow task failed", !has(events, "WorkflowTaskFailed"))
	request := &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: k.namespace,
		Execution: k.describeRun("", "").Execution, MaximumPageSize: 50,
		HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT}
	paged := 0
	for first := true; first || len(request.NextPageToken) > 0; first = false {
		page := need(k.c.WorkflowService().GetWorkflowExecutionHistory(k.ctx, request))
		paged += len(page.History.Events)
		request.NextPageToken = page.NextPageToken
	}
	equal("events read in pages of 50", paged, len(events))
	equal("replayed", k.query(run).Results, want)
}
