/** Emoji by name: our own list, found by the words of their names. Pure. */

const LISTS = {
  Faces: `
    😀 grinning happy|😃 smiley happy open|😄 smile happy eyes|😁 beaming grin teeth|😆 laughing
    😅 sweat_smile relief|🤣 rofl floor laugh|😂 joy tears laugh|🙂 slightly_smiling|🙃 upside_down
    😉 wink|😊 blush smile|😇 innocent halo angel|🥰 in_love hearts|😍 heart_eyes love|🤩 star_struck wow
    😘 kiss_blow|😋 yum tasty|😛 tongue|😜 zany_wink tongue|🤪 zany crazy|🤗 hugging hug
    🤭 giggle oops|🤫 hush quiet secret|🤔 thinking hmm|🤨 raised_eyebrow doubt|😐 neutral|😶 no_mouth silent
    😏 smirk|😒 unamused|🙄 rolling_eyes|😬 grimace awkward|😌 relieved calm|😔 pensive sad|😴 sleeping tired
    😷 mask ill|🤒 fever ill|🤯 mind_blown exploding|🥳 party celebrate|😎 cool sunglasses|🤓 nerd
    🧐 monocle inspect|😕 confused|😟 worried|🙁 frowning sad|😮 surprised open oh|😯 hushed|😲 astonished wow
    😳 flushed embarrassed|🥺 pleading please|😨 fearful afraid|😰 anxious sweat|😢 cry sad tear
    😭 sob cry loud|😱 scream shock|😖 confounded|😣 persevere|😞 disappointed|😓 downcast sweat|😩 weary
    😫 tired_face|🥱 yawn bored|😤 triumph huff|😡 angry rage red|😠 cross angry|🤬 swearing|💀 skull dead
    🤡 clown|👻 ghost|🤖 robot bot|😺 smiley_cat|🫠 melting|🫡 salute|🫣 peeking|🥲 smiling_tear
  `,
  Hands: `
    👍 thumbs_up yes +1 good|👎 thumbs_down no bad|👌 ok_hand|✌️ victory peace|🤞 fingers_crossed luck
    🤟 love_you|🤘 rock_on horns|👈 point_left|👉 point_right|👆 point_up|👇 point_down|☝️ index_up one
    ✋ raised_hand stop high|🖐️ spread_hand five|👋 wave hello bye|🤙 call_me|💪 muscle strong|🙏 pray thanks please
    👏 clap applause|🙌 raised_hands hooray|👐 open_hands|🤝 handshake deal agree|✍️ writing_hand note|👀 eyes look seen
    🧠 brain think|🫶 heart_hands|🤷 shrug dunno|🤦 facepalm|🙋 raising_hand me question|🙇 bow sorry
    👶 baby|🧑‍💻 technologist coder computer|🕵️ detective|🏃 runner run hurry|💃 dancer dance
  `,
  Hearts: `
    ❤️ heart love red|🧡 orange_heart|💛 yellow_heart|💚 green_heart|💙 blue_heart|💜 purple_heart|🖤 black_heart
    🤍 white_heart|💔 broken_heart|💕 two_hearts|💯 hundred full_marks|💥 boom bang|💫 dizzy star|💤 zzz sleep
    💬 speech talk comment|💭 thought bubble|🔥 fire hot lit|✨ sparkles new|⭐ star favourite|🌟 glowing_star
    ❗ exclamation|❓ question|‼️ double_exclamation|✅ check done yes|☑️ ticked|✔️ check_mark|❌ cross_mark no wrong
    ⛔ no_entry|🚫 prohibited forbidden|⚠️ warning caution|♻️ recycle|🔴 red_circle|🟡 yellow_circle
    🟢 green_circle|🔵 blue_circle|⚪ white_circle|⚫ black_circle|➕ plus add|➖ minus
  `,
  Nature: `
    🐶 dog|🐱 cat|🐭 mouse|🦊 fox|🐻 bear|🐼 panda|🐸 frog|🐵 monkey|🙈 see_no_evil monkey|🐔 chicken|🐧 penguin
    🦆 duck|🦉 owl|🐢 turtle slow|🐍 snake python|🐙 octopus|🦀 crab rust|🐳 whale docker|🐟 fish|🐝 bee|🐛 bug insect
    🦋 butterfly|🐌 snail slow|🐘 elephant postgres|🦄 unicorn|🌱 seedling grow|🌲 tree|🌵 cactus|🍀 clover luck
    🌹 rose|🌻 sunflower|🍂 leaves autumn|🌍 earth world globe|🌙 moon night|☀️ sun sunny|⛅ cloudy|🌧️ rain
    ⚡ lightning fast zap|❄️ snow cold|🌈 rainbow|🌊 water_wave sea
  `,
  Food: `
    🍎 apple|🍌 banana|🍉 watermelon|🍇 grapes|🍓 strawberry|🥑 avocado|🥕 carrot|🍞 bread|🧀 cheese|🍔 burger
    🍟 fries chips|🍕 pizza|🌮 taco|🥗 salad|🍜 noodles ramen|🍣 sushi|🍪 cookie biscuit|🎂 birthday cake|🍰 shortcake cake
    🍫 chocolate|🍿 popcorn|🍦 ice_cream|☕ coffee tea break|🍵 green_tea|🍺 beer|🍻 cheers beers|🍷 wine|🥂 clink toast
  `,
  Things: `
    ⚽ football soccer|🏀 basketball|🎾 tennis|🏆 trophy win|🥇 gold_medal first|🎯 bullseye target|🎲 dice game
    🎮 video_game|🎵 music note|🎸 guitar|🎨 art palette|🎉 tada party hooray|🎁 gift present|🎈 balloon|🚀 rocket ship launch
    ✈️ airplane travel|🚗 car|🚲 bicycle bike|🚂 train|🏠 house home|🏢 office building|🏖️ beach holiday|⏰ alarm clock
    ⏳ hourglass wait|📅 calendar date|📌 pin|📎 paperclip attach|✏️ pencil edit|📝 memo write|📁 folder|📄 page document
    📚 books read|📈 chart_up growth|📉 chart_down|📦 package parcel|📧 email mail|📣 megaphone announce|🔔 bell notify
    🔕 no_bell mute|🔍 magnifier search|🔒 lock secure|🔓 unlocked open|🔑 key|🛡️ shield safe|🔧 wrench fix|🔨 hammer build
    ⚙️ gear settings|🧪 test_tube test|🧯 extinguisher|🧹 broom clean|💡 bulb idea|💻 laptop computer|🖥️ desktop|🖨️ printer
    📱 phone mobile|🔋 battery|🔌 plug|💾 floppy save|🗑️ bin delete trash|💰 money bag|💎 gem|🏁 finish flag|🚧 construction wip
    🚨 siren alert alarm|🚦 traffic_light|🆘 sos help|🆗 ok_button|🔁 repeat again|🔗 link chain|⬆️ arrow_up|⬇️ arrow_down
  `,
};

/** [{emoji, name, words}] by group; `name` is what stands between colons. */
export const GROUPS = Object.entries(LISTS).map(([title, text]) => ({
  title,
  entries: text.split(/[|\n]/).map((line) => line.trim()).filter(Boolean).map(readEntry),
}));

export const ALL = GROUPS.flatMap((group) => group.entries);

export const QUICK = ["👍", "❤️", "😄", "🎉", "👀", "✅"];

function readEntry(line) {
  const [emoji, name, ...words] = line.split(/\s+/);
  return { emoji, name, words: [...name.split("_"), ...words.flatMap((word) => word.split("_"))] };
}

/** The emoji whose name begins with the query first, then those with a word that does. */
export function findEmoji(query, limit = Infinity) {
  const wanted = bare(query.toLowerCase());
  if (!wanted) return ALL.slice(0, limit);
  const rank = ({ name, words }) => {
    if (bare(name) === wanted) return 0;
    if (bare(name).startsWith(wanted)) return 1;
    return words.some((word) => word.startsWith(wanted)) ? 2 : 3;
  };
  const ranked = ALL.map((entry) => [rank(entry), entry]).filter(([at]) => at < 3);
  const order = ([a, one], [b, other]) => a - b || (a === 1 ? one.name.length - other.name.length : 0);
  return ranked.sort(order).map(([, entry]) => entry).slice(0, limit);
}

/** “thumbs up”, “:thumbsup:” and “thumbs_up” are one name. */
function bare(name) {
  return name.replaceAll(/[:\s_-]+/g, "");
}
