// The published Node clients send what their documentation says, each through its own address; prints what was sent.
// stdin: {name: [url, key]}, stdout: {name: {ids, failed}}: the message ids of acts, and what a client gave up. Waits are
// short, tries many: faults are the test's business. Each says first who acts, by the address NAME@acme.example.
const { Analytics } = require("@segment/analytics-node");
const RudderAnalytics = require("@rudderstack/rudder-sdk-node");
const { PostHog } = require("posthog-node");
const { CloudEvent, HTTP, httpTransport, emitterFor, Mode } = require("cloudevents");
const { randomUUID } = require("node:crypto");

const COUNT = 45;
const BATCH = 6;

async function segment([url, key]) {
  const client = new Analytics({ writeKey: key, host: url, flushAt: BATCH, flushInterval: 50, maxRetries: 10, httpRequestTimeout: 1000 });
  const failed = [];
  client.on("error", (error) => failed.push(String(error.reason ?? error.code)));
  const sent = [];
  client.on("track", (ctx) => sent.push(ctx.event.messageId));
  client.identify({ userId: "node-segment", traits: { email: "node-segment@acme.example", jobTitle: "CTO" } });
  for (let number = 1; number < COUNT; number++) {
    client.track({ userId: "node-segment", event: "Report Read", properties: { number } });
  }
  await client.closeAndFlush({ timeout: 30000 });
  return { ids: sent, failed };
}

async function rudder([url, key]) {
  const failed = [];
  const client = new RudderAnalytics(key, {
    dataPlaneUrl: url,
    flushAt: BATCH,
    flushInterval: 50,
    retryCount: 10, // without a `timeout`: it repeats whatever fails but that
    logLevel: "error",
    errorHandler: (error) => failed.push(String(error.message)),
  });
  client.logger.error = () => {}; // it tells each retry
  const ids = [];
  client.identify({ userId: "node-rudder", traits: { email: "node-rudder@acme.example", jobTitle: "CTO" } });
  for (let number = 1; number < COUNT; number++) {
    const messageId = randomUUID();
    ids.push(messageId);
    client.track({ userId: "node-rudder", messageId, event: "Report Read", properties: { number } });
  }
  while (client.queue.length) await client.flush();
  return { ids, failed };
}

async function posthog([url, key]) {
  const failed = [];
  const client = new PostHog(key, { host: url, flushAt: BATCH, maxBatchSize: BATCH, flushInterval: 50, fetchRetryCount: 10, fetchRetryDelay: 100, requestTimeout: 1000 });
  client.on("error", (error) => failed.push(String(error)));
  const ids = [];
  const note = () => ids[ids.push(randomUUID()) - 1];
  const $set = { email: "node-posthog@acme.example", job_title: "CTO" };
  client.identify({ distinctId: "node-posthog", properties: { $set } });
  for (let number = 1; number < COUNT; number++) {
    client.capture({ distinctId: "node-posthog", event: "report read", properties: { number }, uuid: note() });
  }
  await client.shutdown(30000);
  return { ids, failed };
}

// The package has a transport, but no second try, and its answer has no status: the caller's business, so ours.
async function cloudevents([url, key]) {
  const ids = [];
  for (let number = 0; number < 6; number++) {
    const mode = number % 2 ? Mode.STRUCTURED : Mode.BINARY;
    const event = new CloudEvent({
      type: "com.acme.report.read",
      source: "/node",
      id: randomUUID(),
      data: { email: "node-cloudevents@acme.example", number },
    });
    ids.push(event.id);
    const emit = emitterFor(httpTransport(url), { binding: HTTP, mode });
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await emit(event, { headers: { authorization: `Bearer ${key}` } });
        if (answer.headers["retry-after"] === undefined && answer.body !== "{}") break;
      } catch (error) {
        if (attempt > 20) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  return { ids, failed: [] };
}

async function main() {
  const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  const drivers = {
    "node-segment": segment,
    "node-rudder": rudder,
    "node-posthog": posthog,
    "node-cloudevents": cloudevents,
  };
  const told = Object.entries(asked).map(async ([name, where]) => [name, await drivers[name](where)]);
  console.log(JSON.stringify(Object.fromEntries(await Promise.all(told))));
}

main();
