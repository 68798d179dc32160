// Checks the Thing Description of a device with the validator of the W3C Web of
// Things community, and invokes actions of a simulated tensile tester through it
// with Eclipse Thingweb node-wot, which knows nothing of Labgate.
//
//   node check.js http://127.0.0.1:8080/v1/devices/tensile-1/td [token]
//
// Prints one JSON object. A device without test.start is validated only.
'use strict'
const { tdValidator } = require('@thing-description-playground/core')
const { Servient } = require('@node-wot/core')
const { HttpClientFactory } = require('@node-wot/binding-http')

const [address, token] = process.argv.slice(2)

async function main () {
  const headers = token ? { Authorization: `Bearer ${token}` } : {}
  const response = await fetch(address, { headers })
  const text = await response.text()
  const found = { status: response.status, type: response.headers.get('content-type'), log: [] }

  // The check of JSON-LD would load contexts from the network. The check of defaults
  // wants every default value spelled out, which the standard does not ask for.
  const options = { checkDefaults: false, checkJsonLd: false, checkTmConformance: false }
  const result = await tdValidator(text, line => found.log.push(line), options)
  found.report = result.report
  found.details = result.details

  const td = JSON.parse(text)
  const servient = new Servient()
  servient.addClientFactory(new HttpClientFactory())
  if (token) servient.addCredentials({ [td.id]: { token } })
  const wot = await servient.start()
  const thing = await wot.consume(td)
  const invoke = async (name, input) => {
    try {
      const output = await thing.invokeAction(name, input)
      return { output: output ? await output.value() : null }
    } catch (error) {
      return { error: String(error) }
    }
  }
  found.actions = Object.keys(td.actions ?? {})
  found.events = Object.keys(td.events)
  if (!td.actions?.['test.start']) return finish(servient, found)
  found.tooFast = await invoke('test.start', { speed_mm_min: 5000 })
  found.started = await invoke('test.start', { speed_mm_min: 100 })
  found.twice = await invoke('test.start', { speed_mm_min: 100 })
  found.stopped = await invoke('test.stop')
  return finish(servient, found)
}

async function finish (servient, found) {
  await servient.shutdown()
  process.stdout.write(JSON.stringify(found) + '\n', () => process.exit(0))
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
