// Drives a page in Chromium, offline, and tells as JSON what a reader would meet. Called by test_what_if.py with one job on stdin.
"use strict";
const fs = require("fs");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

const figures = (page) =>
  page.evaluate(() => Object.fromEntries([...document.querySelectorAll("[data-figure]")].map((cell) => [cell.dataset.figure, cell.textContent])));
const status = (page) => page.locator("#what-if [role=status]").textContent();

async function opened(browser, path, options, heard) {
  const context = await browser.newContext({ offline: true, viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && heard.push(message.text()));
  page.on("pageerror", (error) => heard.push(String(error)));
  page.on("request", (request) => /^(file|data):/.test(request.url()) || heard.push(request.url()));
  await page.goto("file://" + path);
  return page;
}

async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations.map(({ id, impact, nodes }) => ({ id, impact, where: nodes.map((node) => node.target.join(" ")) }));
}

async function whatIf(browser, path, print, heard) {
  const page = await opened(browser, path, {}, heard);
  const slider = page.locator("#what-if-gains");
  const told = { base: await figures(page), violations: await violations(page) };
  await slider.focus();
  for (let press = 0; press < 3; press++) await page.keyboard.press("ArrowRight");
  told.keyboard = { figures: await figures(page), value: await slider.inputValue(), text: await slider.getAttribute("aria-valuetext") };
  await page.waitForTimeout(400);
  told.keyboard.said = await status(page);
  const box = await page.locator("#what-if-cost").boundingBox();
  await page.mouse.move(box.x + box.width / 3, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 2, box.y + box.height / 2, { steps: 4 });
  await page.mouse.up();
  told.mouse = { figures: await figures(page), value: await page.locator("#what-if-cost").inputValue() };
  told.moved = await page.locator("#what-if svg path.moved").getAttribute("d");
  await page.pdf({ path: print, preferCSSPageSize: true });
  await page.locator("#what-if button").click();
  told.reset = await figures(page);
  told.lines = await page.evaluate(() => [...document.querySelectorAll("#what-if svg path")].map((line) => line.getAttribute("d")));
  told.names = await page.evaluate(() => [...document.querySelectorAll("#what-if input")].map((input) => input.labels[0].textContent));
  await page.context().close();
  return told;
}

async function phone(browser, path, heard) {
  const page = await opened(browser, path, { viewport: { width: 375, height: 800 }, hasTouch: true }, heard);
  const told = await page.evaluate(() => ({ width: document.documentElement.scrollWidth, room: window.innerWidth }));
  await page.context().close();
  return told;
}

async function silent(browser, path, heard) {
  const page = await opened(browser, path, { javaScriptEnabled: false }, heard);
  const text = await page.locator("#what-if").innerText();
  const told = { text, sliders: await page.locator("#what-if input:visible").count() };
  await page.context().close();
  return told;
}

// The page's own script on other futures and inputs, and what it shows where its levers stand at given places.
async function table(browser, path, job, heard) {
  const page = await opened(browser, path, {}, heard);
  const computed = await page.evaluate((rows) => JSON.stringify(rows.map((row) => whatIf(row.model, row.inputs))), job.rows);
  const shown = [];
  for (const places of job.places) {
    await page.evaluate((values) => {
      const inputs = [...document.querySelectorAll("#what-if input")];
      inputs.forEach((input, at) => (input.value = values[at]));
      inputs[0].dispatchEvent(new Event("input"));
    }, places);
    shown.push(await figures(page));
  }
  await page.context().close();
  return { computed: JSON.parse(computed), shown };
}

(async () => {
  const job = JSON.parse(fs.readFileSync(0, "utf8"));
  const browser = await chromium.launch({ executablePath: job.chromium, args: FLAGS });
  const heard = [];
  const told = { pages: {}, notebooks: {}, heard };
  try {
    for (const [name, path] of Object.entries(job.pages)) {
      told.pages[name] = {
        ...(await whatIf(browser, path, job.prints[name], heard)),
        phone: await phone(browser, path, heard),
        silent: await silent(browser, path, heard),
      };
    }
    for (const [name, path] of Object.entries(job.notebooks)) {
      const page = await opened(browser, path, {}, heard);
      told.notebooks[name] = { violations: await violations(page), phone: await phone(browser, path, heard) };
      await page.context().close();
    }
    told.table = await table(browser, job.table.path, job.table, heard);
  } finally {
    await browser.close();
  }
  process.stdout.write(JSON.stringify(told));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
